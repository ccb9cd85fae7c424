import type { Check, Row } from './result.ts'
import type { SystemName } from './stage.ts'

/** What is still acceptable below a goal: this multiple of the proxy's latency, and this share of its throughput. */
const LEAST = { latency: 1.5, throughput: 0.7 }

/** Goal: this multiple of the proxy's calls a second, when many are sent at once. */
const CALLS = 1.2

/** Goal: the time that one whole answer at a time may take longer than from the upstream, ms. */
const ALONE_MS = 2

/** Goal: cache hits a second, as a multiple of calls a second. */
const HITS = 5

/** Sluice's goals, each with the measured value; goals against the proxy only if it ran. */
export function checkGoals(rows: readonly Row[]): Check[] {
  const concurrencies = [...new Set(rows.map(({ concurrency }) => concurrency))]
  const find = (system: SystemName, concurrency: number, isStream = false) =>
    rows.find((row) => row.system === system && row.concurrency === concurrency && row.isStream === isStream)
  const checks: Check[] = []

  for (const isStream of [false, true]) {
    for (const concurrency of concurrencies) {
      const own = find('sluice', concurrency, isStream)
      const proxy = find('portkey', concurrency, isStream)
      if (!own || !proxy) continue
      checks.push({
        goal: `${isStream ? 'the first chunk' : 'an answer'}, ${concurrency} at once: no more added to p50 than the proxy adds`,
        verdict: judge(own.addedMs <= proxy.addedMs, own.addedMs <= LEAST.latency * proxy.addedMs),
        found: `${own.addedMs.toFixed(2)} ms, the proxy ${proxy.addedMs.toFixed(2)} ms`,
      })
    }
  }
  const most = Math.max(...concurrencies)
  const own = find('sluice', most)
  const proxy = find('portkey', most)
  const hits = find('hits', most)
  if (own && proxy) {
    const share = own.perSecond / proxy.perSecond
    checks.push({
      goal: `${most} at once: ${CALLS} times as many calls a second as the proxy`,
      verdict: judge(share >= CALLS, share >= LEAST.throughput),
      found: `${Math.round(own.perSecond)}, the proxy ${Math.round(proxy.perSecond)}: ${share.toFixed(2)} of it`,
    })
  }
  const alone = find('sluice', 1)
  if (alone) {
    checks.push({
      goal: `an answer, one at a time: at most ${ALONE_MS} ms added to p50`,
      verdict: judge(alone.addedMs <= ALONE_MS, alone.addedMs <= LEAST.latency * ALONE_MS),
      found: `${alone.addedMs.toFixed(2)} ms`,
    })
  }
  if (own && hits) {
    const times = hits.perSecond / own.perSecond
    checks.push({
      goal: `${most} at once: ${HITS} times as many hits of the cache as calls`,
      verdict: judge(times >= HITS, false),
      found: `${Math.round(hits.perSecond)} hits a second, ${times.toFixed(1)} times`,
    })
  }
  return checks
}

function judge(isGood: boolean, isAcceptable: boolean): Check['verdict'] {
  return isGood ? 'PASS' : isAcceptable ? 'LEAST' : 'FAIL'
}
