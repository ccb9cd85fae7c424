import { readFileSync } from 'node:fs'

const INNER = '\n-- =====\n'

const references = readFileSync(new URL('./event-references.lua', import.meta.url), 'utf8')

/**
 * Builds a script that writes events by `refer(id, seq, event)` and their references at its end. It needs the keys of `scriptKeys`.
 *
 * The shared code may have one line `-- =====`. The code below it goes into a function of its own, so put what most functions use
 * above the line. When Lua makes a function, it searches the variables of the function around it for each variable that the new one
 * uses, the latest first; a variable from further out costs no search.
 *
 * @param shared Lua code to put before the script
 * @param writers functions of that code that run at the end, even after an error; they write with `write_last` what the script has
 * collected
 * @param answer Lua expression for the script's answer, made from `answer_of_script`
 */
export function withEventReferences(
  shared: readonly string[],
  script: string,
  writers: readonly string[] = [],
  answer = 'answer_of_script',
): string {
  const end = [
    'local has_run, answer_of_script = pcall(run_script)',
    ...writers.map((writer) => `${writer}()`),
    'write_references()',
    'if not has_run then return failure_of(answer_of_script) end',
    'if failed_write then return failure_of(failed_write) end',
    `return ${answer}`,
  ]
  const text = [...shared, 'local function run_script()', script, 'end', ...end].join('\n')
  const [outer, inner, ...further] = text.split(INNER)
  if (further.length > 0) throw new Error('shared code of scripts has more than one line `-- =====`')
  if (inner === undefined) return [references, text].join('\n')
  return [references, outer, 'local function run_all()', inner, 'end', 'return run_all()'].join('\n')
}

/** The key of the stream of references to a tenant's events. */
export function referencesKey(root: string): string {
  return `${root}:events`
}

/** The same for chunks of streams. */
export function deltasKey(root: string): string {
  return `${root}:events:deltas`
}

/** Pub/sub channel that announces new references, only while somebody follows the tenant. The messages are empty. */
export function referencesChannel(root: string): string {
  return `${root}:live:events`
}

/** Names an event: number `seq` in the list of the job, or of another thing with events, with this id. */
export type EventReference = { id: string; seq: number; event: string }

/** Selects events of a tenant. An absent member selects all. */
export type EventFilter = {
  /** Of a job: its type, its group, its current lane, the flow that created it, and the durable run of its step. */
  type?: string | undefined
  group?: string | undefined
  lane?: string | undefined
  flow?: string | undefined
  durable?: string | undefined
  /** Names of events. */
  events?: ReadonlySet<string> | undefined
}

/** Reads the events of one kind of object by their references. */
export type EventSource<Event> = {
  /**
   * In the order of the references; null for events that the filter does not select (event names are checked before) and for deleted ones.
   * An unreadable event makes the whole call fail: a follower that skipped the event would never get it.
   */
  resolve(root: string, references: readonly EventReference[], filter: EventFilter): Promise<(Event | null)[]>
}
