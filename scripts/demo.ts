/**
 * `npm run demo`: a whole installation on this machine for a minute, under a load that is more than its simulated
 * providers allow. Exits 0 only when everything held that it prints.
 *
 *   npm run demo                    about 45 seconds
 *   npm run demo -- --size 0.2      a fifth of the load
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs, styleText } from 'node:util'
import { type Client, createClient } from './demo/client.ts'
import { groups, makeLoad, makeStreamedChat } from './demo/load.ts'
import { showProgress } from './demo/progress.ts'
import { renderReport } from './demo/report.ts'
import { chatLimits, embeddingLimits, keys, type Stack, startStack } from './demo/stack.ts'
import { type Summary, summarize } from './demo/summary.ts'

/** Whatever is open after this stays open. */
const DEADLINE_MS = 150_000
const POLL_MS = 250
/** Birch asks one question after the other, this long apart. */
const BIRCH_PAUSE_MS = 700

const { values } = parseArgs({ options: { size: { type: 'string', default: '1' } } })
const size = Number(values.size)
if (!(size > 0 && size <= 10)) {
  console.error('--size: a number over 0 and up to 10')
  process.exit(2)
}

const interruption = Promise.withResolvers<never>()
for (const [signal, code] of [['SIGINT', 130], ['SIGTERM', 143]] as const) {
  process.once(signal, () => {
    process.exitCode = code
    interruption.reject(new Error('interrupted'))
    // A second one does not wait: the children end when they notice that their parent is gone.
    process.once(signal, () => process.exit(code))
  })
}

const stack = await startStack()
console.log(describe())
try {
  const summary = await Promise.race([runLoad(stack), stack.failed, interruption.promise])
  console.log(renderReport(summary))
  for (const fault of summary.faults) console.error(styleText('red', `This does not hold: ${fault}.`))
  process.exitCode = summary.faults.length > 0 ? 1 : 0
} catch (error) {
  console.error(`The demo stopped: ${error instanceof Error ? error.message : error}`)
  process.exitCode ||= 1
} finally {
  await stack.close()
}

/** Submits the load, watches it to its end, and asks both sides what happened. */
async function runLoad({ api, chatProvider, embeddingProvider }: Stack): Promise<Summary> {
  const startedAt = Date.now()
  const signal = AbortSignal.timeout(DEADLINE_MS)
  const acme = createClient({ url: api, key: keys.acme, signal })
  const birch = createClient({ url: api, key: keys.birch, signal })
  const load = makeLoad(size)

  await Promise.all([acme.submitAll(load.chats), acme.submitAll(load.embeddings)])
  const submitted = load.chats.length + load.embeddings.length
  console.log(`${submitted.toLocaleString('en')} jobs accepted in ${((Date.now() - startedAt) / 1000).toFixed(1)} s.`)

  let text = ''
  const reader = readStreams(birch, (now) => {
    text = now
  })
  const progress = showProgress(process.stdout, async () => ({
    seconds: (Date.now() - startedAt) / 1000,
    chats: await countDone(acme, groups.chats),
    embeddings: await countDone(acme, groups.embeddings),
    chatProvider: chatProvider.state(),
    embeddingProvider: embeddingProvider.state(),
    text,
  }))
  try {
    await Promise.race([progress.running, reader.failed, waitAndRepeat(acme, load.repeats)])
  } finally {
    await reader.stop()
    await progress.stop()
  }

  return summarize({
    chats: await acme.list(groups.chats),
    embeddings: await acme.list(groups.embeddings),
    streamed: await birch.list(groups.streamed),
    chatProvider: { state: chatProvider.state(), calls: chatProvider.calls() },
    embeddingProvider: { state: embeddingProvider.state(), calls: embeddingProvider.calls() },
  })
}
