import { setTimeout as sleep } from 'node:timers/promises'
import { type CreateJob, createClient, type Group, type SluiceClient } from '../../client/index.ts'
import { groups, makeLoad, makeStreamedChat } from './load.ts'
import { type Output, showProgress } from './progress.ts'
import { keys, type Stack } from './stack.ts'
import { type Summary, summarize } from './summary.ts'

/** Jobs without an answer by then are given up, and the demo fails. */
const DEADLINE_MS = 150_000
const POLL_MS = 250
/** Birch reads its answers one after the other, with this pause between two. */
const BIRCH_PAUSE_MS = 700

export type RunOptions = {
  /** 1 is the whole load. */
  size: number
  out: Output
  /** Ends the run early. */
  signal: AbortSignal
}

/** Submits the load, shows it until its end, and asks Sluice and the providers what happened. */
export async function runLoad(stack: Stack, options: RunOptions): Promise<Summary> {
  const late = AbortSignal.timeout(DEADLINE_MS)
  try {
    return await run(stack, { ...options, signal: AbortSignal.any([options.signal, late]) })
  } catch (error) {
    throw late.aborted ? new Error(`not everything was answered within ${DEADLINE_MS / 1000} s`) : error
  }
}

async function run(stack: Stack, { size, out, signal }: RunOptions): Promise<Summary> {
  const { api, chatProvider, embeddingProvider } = stack
  const acme = createClient({ url: api, key: keys.acme })
  const birch = createClient({ url: api, key: keys.birch })
  const load = makeLoad(size)

  const startedAt = Date.now()
  const elapsed = () => (Date.now() - startedAt) / 1000
  await Promise.all([submitAll(acme, load.chats, signal), submitAll(acme, load.embeddings, signal)])
  const accepted = (load.chats.length + load.embeddings.length).toLocaleString('en')
  out.write(
    `${accepted} jobs of acme accepted in ${elapsed().toFixed(1)} s. Now they leave as fast as they may:\n`,
  )

  const reader = readAlong(birch, signal)
  const progress = showProgress(out, async () => ({
    at: Date.now(),
    seconds: elapsed(),
    chats: count(await acme.group(groups.chats, { signal })),
    embeddings: count(await acme.group(groups.embeddings, { signal })),
    chatProvider: chatProvider.state(),
    embeddingProvider: embeddingProvider.state(),
    text: reader.text(),
  }))
  const groupOf = (name: string) => acme.group(name, { signal })
  const everythingEnds = async () => {
    await waitFor(groupOf, groups.chats, ({ done, total }) => done > total * 0.6)
    await submitAll(acme, load.repeats, signal)
    await waitFor(groupOf, groups.chats, ({ done, total }) => done === total)
    await waitFor(groupOf, groups.embeddings, ({ done, total }) => done === total)
    await reader.stop()
  }
  await Promise.race([everythingEnds(), progress.running, reader.running])
  await reader.stop()
  await progress.stop()

  const list = (client: SluiceClient, group: string) =>
    Array.fromAsync(client.list({ group, limit: 1000, signal }))
  return summarize({
    chats: await list(acme, groups.chats),
    embeddings: await list(acme, groups.embeddings),
    streamed: await list(birch, groups.streamed),
    chatProvider: { state: chatProvider.state(), calls: chatProvider.calls() },
    embeddingProvider: { state: embeddingProvider.state(), calls: embeddingProvider.calls() },
  })
}

/** The quiet tenant: one streamed chat after the other, until it is stopped. */
function readAlong(client: SluiceClient, signal: AbortSignal) {
  const stopping = new AbortController()
  let text = ''

  async function run(): Promise<void> {
    for (let number = 1; !stopping.signal.aborted; number++) {
      const { id } = await client.submit(makeStreamedChat(number), { signal })
      let isFirst = true
      for await (const event of client.events(id, { signal })) {
        if (event.type !== 'job.delta') continue
        const piece = readPiece(event.data.chunk)
        text = isFirst ? piece : text + piece
        isFirst = false
      }
      await sleep(BIRCH_PAUSE_MS, undefined, { signal: stopping.signal }).catch(() => {})
    }
  }

  const running = run()
  return {
    running,
    /** The part of the latest answer that has been read. */
    text: () => text,
    /** Resolves when the last answer has been read. */
    async stop(): Promise<void> {
      stopping.abort()
      await running
    },
  }
}

/** The text in one chunk of a chat's stream. */
function readPiece(chunk: Record<string, unknown>): string {
  const { choices } = chunk as { choices?: { delta?: { content?: string | null } }[] }
  return choices?.[0]?.delta?.content ?? ''
}

async function submitAll(client: SluiceClient, jobs: CreateJob[], signal: AbortSignal): Promise<void> {
  for await (const answer of client.submitMany(jobs, { signal })) {
    if ('error' in answer) throw new Error(`a job was refused: ${answer.error.message}`)
  }
}

async function waitFor(
  groupOf: (name: string) => Promise<Group>,
  group: string,
  isEnough: (progress: { done: number; total: number }) => boolean,
): Promise<void> {
  while (!isEnough(count(await groupOf(group)))) await sleep(POLL_MS)
}

function count({ counts, total }: Group): { done: number; total: number } {
  return { done: counts.completed + counts.failed + counts.cancelled, total }
}
