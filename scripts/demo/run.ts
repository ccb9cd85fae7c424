import { setTimeout as sleep } from 'node:timers/promises'
import type { GroupSummary } from '../../jobs/job.ts'
import { type Client, createClient } from './client.ts'
import { groups, makeLoad, makeStreamedChat } from './load.ts'
import { type Output, showProgress } from './progress.ts'
import { keys, type Stack } from './stack.ts'
import { type Summary, summarize } from './summary.ts'

/** What is not answered by then is given up, and the demo with it. */
const DEADLINE_MS = 150_000
const POLL_MS = 250
/** Birch reads its answers one after the other, with this pause between two. */
const BIRCH_PAUSE_MS = 700

export type RunOptions = {
  /** 1 is the whole load. */
  size: number
  out: Output
  /** Gives up. */
  signal: AbortSignal
}

/** Submits the load, shows it to its end, and asks Sluice and the providers what happened. */
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
  const acme = createClient({ url: api, key: keys.acme, signal })
  const birch = createClient({ url: api, key: keys.birch, signal })
  const load = makeLoad(size)

  const startedAt = Date.now()
  const elapsed = () => (Date.now() - startedAt) / 1000
  await Promise.all([acme.submitAll(load.chats), acme.submitAll(load.embeddings)])
  const accepted = (load.chats.length + load.embeddings.length).toLocaleString('en')
  out.write(
    `${accepted} jobs of acme accepted in ${elapsed().toFixed(1)} s. Now they leave as fast as they may:\n`,
  )

  const reader = readAlong(birch)
  const progress = showProgress(out, async () => ({
    at: Date.now(),
    seconds: elapsed(),
    chats: count(await acme.group(groups.chats)),
    embeddings: count(await acme.group(groups.embeddings)),
    chatProvider: chatProvider.state(),
    embeddingProvider: embeddingProvider.state(),
    text: reader.text(),
  }))
  const everythingEnds = async () => {
    await waitFor(acme, groups.chats, ({ done, total }) => done > total * 0.6)
    await acme.submitAll(load.repeats)
    await waitFor(acme, groups.chats, ({ done, total }) => done === total)
    await waitFor(acme, groups.embeddings, ({ done, total }) => done === total)
    await reader.stop()
  }
  await Promise.race([everythingEnds(), progress.running, reader.running])
  await reader.stop()
  await progress.stop()

  return summarize({
    chats: await acme.list(groups.chats),
    embeddings: await acme.list(groups.embeddings),
    streamed: await birch.list(groups.streamed),
    chatProvider: { state: chatProvider.state(), calls: chatProvider.calls() },
    embeddingProvider: { state: embeddingProvider.state(), calls: embeddingProvider.calls() },
  })
}

/** The quiet tenant: one streamed chat after the other, until it is told to stop. */
function readAlong(client: Client) {
  const stopping = new AbortController()
  let text = ''

  async function run(): Promise<void> {
    for (let number = 1; !stopping.signal.aborted; number++) {
      const job = await client.submit(makeStreamedChat(number))
      let isFirst = true
      await client.follow(job.id, (piece) => {
        text = isFirst ? piece : text + piece
        isFirst = false
      })
      await sleep(BIRCH_PAUSE_MS, undefined, { signal: stopping.signal }).catch(() => {})
    }
  }

  const running = run()
  return {
    running,
    /** What has been read of the latest answer. */
    text: () => text,
    /** Resolves when the last answer has been read. */
    async stop(): Promise<void> {
      stopping.abort()
      await running
    },
  }
}

async function waitFor(
  client: Client,
  group: string,
  isEnough: (progress: { done: number; total: number }) => boolean,
): Promise<void> {
  while (!isEnough(count(await client.group(group)))) await sleep(POLL_MS)
}

function count({ counts, total }: GroupSummary): { done: number; total: number } {
  return { done: counts.completed + counts.failed + counts.cancelled, total }
}
