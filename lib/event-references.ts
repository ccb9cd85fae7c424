import { readFileSync } from 'node:fs'

const references = readFileSync(new URL('./event-references.lua', import.meta.url), 'utf8')

/**
 * A script that tells of events by `refer(id, seq, event)`, which writes their references at its end. It needs the keys of
 * `scriptKeys`.
 *
 * @param shared Lua that stands before it
 * @param writers functions of that which write at the end, by `write_last`, what the script has gathered, also where it fails
 * @param answer Lua: the script's answer as it is given, made of `answer_of_script`
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
  return [references, ...shared, 'local function run_script()', script, 'end', ...end].join('\n')
}

/** The stream of references to the events of a tenant. */
export function referencesKey(root: string): string {
  return `${root}:events`
}

/** The same for chunks of streams. */
export function deltasKey(root: string): string {
  return `${root}:events:deltas`
}

/** Pub/sub channel that announces more references, only while somebody follows the tenant; the message is empty. */
export function referencesChannel(root: string): string {
  return `${root}:live:events`
}

/** Names an event: the `seq`-th in the list of the job, or of what else has events, with this id. */
export type EventReference = { id: string; seq: number; event: string }

/** What of a tenant's events is asked for; a member that is left out asks for all. */
export type EventFilter = {
  /** Of a job: its type, its group, its lane as it stands now, and the flow that made it. */
  type?: string | undefined
  group?: string | undefined
  lane?: string | undefined
  flow?: string | undefined
  /** Names of events. */
  events?: ReadonlySet<string> | undefined
}

/** Reads events of one kind of thing by their references. */
export type EventSource<Event> = {
  /**
   * In the order of the references; null for events that the filter does not ask for (event names are checked before) and
   * for deleted ones. An unreadable event fails them all: a follower that skipped it would never get it.
   */
  resolve(root: string, references: readonly EventReference[], filter: EventFilter): Promise<(Event | null)[]>
}
