import { setTimeout as sleep } from 'node:timers/promises'
import { closeRedis, createRedis } from '../../lib/redis.ts'
import { getGroup } from './client.ts'
import type { Fault, Outcome, Settings } from './fault.ts'
import { openStage } from './stage.ts'
import { tallyUp } from './tally.ts'
import { until } from './wait.ts'

const JOBS = 100_000
const PER_REQUEST = 5_000
const MOST_MS = 10_000
const SLOW_SCRIPT_MS = 20
/** How long another request may take at the same time. */
const OTHERS_MS = 500
const GROUP = 'wrong'

/** A wrong run of 100,000 jobs is cancelled in one call, while its lane is paused and other clients send requests. */
export const cancelMany: Fault = {
  name: 'cancel-many',
  title: '100,000 jobs cancelled in one call',
  async run({ seed, quick, stalledAfterMs, say, opened }: Settings): Promise<Outcome> {
    const jobs = quick ? JOBS / 10 : JOBS
    const stage = await openStage({ simulator: ['--seed', String(seed)], stalledAfterMs })
    opened(stage)
    const url = stage.urls()[0]!
    const broken: string[] = []
    const send = async (path: string, body: string, type = 'application/json') => {
      const response = await fetch(url + path, { method: 'POST', headers: { 'content-type': type }, body })
      if (!response.ok) throw new Error(`${path} answered ${response.status}: ${await response.text()}`)
      return response
    }
    await send('/v1/lanes/pause', '{"provider":"sim"}')
    for (let from = 0; from < jobs; from += PER_REQUEST) {
      const lines = Array.from({ length: PER_REQUEST }, (_, at) => toLine(from + at))
      await (await send('/v1/jobs/bulk', lines.join('\n'), 'application/x-ndjson')).text()
    }
    say(`${jobs} jobs wait`)
    const redis = createRedis({ url: stage.redis.url, role: 'commands', name: 'faults' })
    await redis.config('SET', 'slowlog-log-slower-than', String(SLOW_SCRIPT_MS * 1000))
    await redis.call('SLOWLOG', 'RESET')

    const readCpu = async () => {
      const info = await redis.info('cpu')
      const read = (name: string) => Number(new RegExp(`${name}:([\\d.]+)`).exec(info)![1])
      return read('used_cpu_user') + read('used_cpu_sys')
    }
    const cpuBefore = await readCpu()
    const others: number[] = []
    const done = new AbortController()
    const asking = (async () => {
      while (!done.signal.aborted) {
        const begun = performance.now()
        await (await fetch(`${url}/v1/groups/${GROUP}`)).text()
        others.push(performance.now() - begun)
        await sleep(50)
      }
    })()
    const begun = performance.now()
    const answer = (await (await send('/v1/jobs/cancel', JSON.stringify({ group: GROUP }))).json()) as {
      cancelled: number
    }
    const tookMs = Math.round(performance.now() - begun)
    done.abort()
    await asking
    const cpu = (await readCpu()) - cpuBefore
    if (answer.cancelled !== jobs) broken.push(`${answer.cancelled} of ${jobs} jobs were cancelled`)
    if (tookMs > MOST_MS) broken.push(`it took ${tookMs} ms, over ${MOST_MS} ms`)
    const slow = (await redis.call('SLOWLOG', 'GET', '10')) as [number, number, number, string[]][]
    for (const [, , micros, [command]] of slow)
      broken.push(`${command} took ${Math.round(micros / 1000)} ms of Redis`)
    const slowest = Math.round(Math.max(...others))
    if (slowest > OTHERS_MS) broken.push(`another request took ${slowest} ms in that time`)
    await closeRedis(redis)
    const { counts } = (await getGroup(url, GROUP))!
    if (counts.cancelled !== jobs) broken.push(`${counts.cancelled} jobs of the group are cancelled`)

    await send('/v1/lanes/resume', '{"provider":"sim"}')
    await send('/v1/jobs', toLine(jobs))
    const ends = async () => ((await getGroup(url, GROUP))!.counts.completed === 1 ? true : null)
    await until(ends, 30_000, 'the next job of the lane').catch((error: Error) => broken.push(error.message))
    const calls = (await stage.simulator.calls()).length
    if (calls !== 1) broken.push(`${calls} calls were made`)
    const rate = Math.round((jobs / tookMs) * 1000)
    const notes = [
      `${jobs} jobs in ${tookMs} ms (${rate} a second), ${cpu.toFixed(1)} s of Redis' processor; other requests took ${slowest} ms at most`,
    ]
    return { tally: tallyUp([], []), recoveriesMs: [], broken, notes }
  },
}

function toLine(number: number): string {
  const body = { model: 'sim/chat', messages: [{ role: 'user', content: `one of the wrong ${number}` }] }
  return JSON.stringify({ type: 'chat', group: GROUP, body })
}
