/**
 * A whole installation on this machine, for a minute, under more load than its simulated providers allow:
 * one Redis, one API process, two workers. Exits 0 only if everything that it prints held.
 *
 *   npm run demo
 *   npm run demo -- --size 0.2      a fifth of the load
 */
import { parseArgs, styleText } from 'node:util'
import { renderReport } from './demo/report.ts'
import { runLoad } from './demo/run.ts'
import { chatLimits, embeddingLimits, startStack } from './demo/stack.ts'

const { values } = parseArgs({ options: { size: { type: 'string', default: '1' } } })
const size = Number(values.size)
if (!(size > 0 && size <= 4)) {
  console.error('--size: expected a number over 0 and up to 4')
  process.exit(2)
}

const interrupted = Promise.withResolvers<never>()
interrupted.promise.catch(() => {})
for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  process.once(signal, () => {
    process.exitCode = code
    interrupted.reject(new Error('interrupted'))
  })
}

try {
  console.log('Starting a Redis, two simulated providers, an API process and two workers.')
  const stack = await startStack()
  const giveUp = new AbortController()
  try {
    const chats = `${chatLimits.requests_per_minute} chats and ${chatLimits.tokens_per_minute} tokens a minute`
    console.log(
      `The providers allow ${chats}, and ${embeddingLimits.requests_per_minute} embedding requests.`,
    )
    const run = runLoad(stack, { size, out: process.stdout, signal: giveUp.signal })
    const summary = await Promise.race([run, stack.failed, interrupted.promise])
    console.log(renderReport(summary))
    for (const claim of summary.broken) console.error(styleText('red', `This does not hold: ${claim}.`))
    if (summary.broken.length > 0) process.exitCode = 1
  } finally {
    giveUp.abort()
    await stack.close()
  }
} catch (error) {
  console.error(`The demo stopped: ${error instanceof Error ? error.message : error}`)
  process.exitCode ??= 1
}
