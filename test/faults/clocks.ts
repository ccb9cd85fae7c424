import { setTimeout as sleep } from 'node:timers/promises'
import { closeRedis, createRedis } from '../../lib/redis.ts'
import { createRandom } from '../../simulator/random.ts'
import { getJob, mapGently } from './client.ts'
import { checkRecoveries, type Fault, type Outcome, type Settings } from './fault.ts'
import { judge } from './judge.ts'
import { type Sent, startLoad } from './load.ts'
import { openStage, type Stage } from './stage.ts'
import { until } from './wait.ts'

const GROUP = 'clocks'
const HOUR_MS = 3_600_000
/** How far the clocks of the processes are off. Redis' is right. */
const SHIFTS_MS = { apis: [2 * HOUR_MS, -2 * HOUR_MS], workers: [HOUR_MS, 8 * 24 * HOUR_MS, -HOUR_MS] }
/** How late a scheduled job may be. */
const LATE_MS = 1_000
/** Commands a second that all processes together may send to Redis while nothing is due. */
const IDLE_COMMANDS = 200
/** By then every process that cleans up has done so several times. */
const SWEPT_MS = 4_000

export type ClocksOptions = {
  /** How long clients submit. */
  loadMs: number
  perSecond: number
}

/** API and worker processes with wrong clocks, under load; one is killed in between. */
export const clocks: Fault = {
  name: 'clocks',
  title: 'wrong clocks: two hours, an hour, 8 days',
  run: (settings) => runClocks(settings, { loadMs: settings.quick ? 10_000 : 30_000, perSecond: 8 }),
}

export async function runClocks(settings: Settings, { loadMs, perSecond }: ClocksOptions): Promise<Outcome> {
  const random = createRandom(settings.seed)
  const stage = await openStage({
    apis: SHIFTS_MS.apis.length,
    workers: SHIFTS_MS.workers.length,
    shiftsMs: SHIFTS_MS,
    retain: '1h',
    simulator: ['--latency', '200', '--jitter', '300', '--seed', String(settings.seed)],
    stalledAfterMs: settings.stalledAfterMs,
  })
  settings.opened(stage)
  const load = startLoad({ urls: stage.urls, random, group: GROUP, perSecond })
  const scheduled: Sent[] = []
  const schedule = (ms: number) => {
    const byTime = { run_at: new Date(Date.now() + ms).toISOString() }
    scheduled.push(load.add({ mark: '', members: scheduled.length % 2 === 0 ? byTime : { delay_ms: ms } }))
  }
  for (let second = 0; second < loadMs / 1_000; second++) {
    schedule(Math.round(1_500 + 1_000 * random()))
    await sleep(1_000)
    if (second === 1) {
      const victim = stage.workers[Math.floor(random() * stage.workers.length)]!
      await stage.end(victim, 'SIGKILL')
      await stage.startWorker()
    }
  }
  await load.stop()
  const api = stage.urls()[0]!
  const accepted = load.sent.filter(({ id }) => id !== null)
  const ended = async () =>
    (await mapGently(accepted, ({ id }) => getJob(api, id!))).every((job) => job?.finished_at) || null
  await until(ended, 60_000 + 2 * settings.stalledAfterMs, 'the end of all jobs').catch(() => {})

  // One is left, for later: until then there is nothing to do.
  schedule(SWEPT_MS)
  const commands = await countCommands(stage, SWEPT_MS)
  await load.stop()
  const { tally, broken } = await judge(stage, load, GROUP, 60_000)
  if (commands > IDLE_COMMANDS)
    broken.push(`Redis got ${Math.round(commands)} commands a second while nothing was due`)
  const lateMs = await mapGently(scheduled, async ({ id }) => {
    const job = await getJob(api, id!)
    return Date.parse(job?.started_at ?? '') - Date.parse(job?.run_at ?? '')
  })
  const early = lateMs.filter((ms) => !(ms >= 0))
  if (early.length > 0) broken.push(`${early.length} scheduled jobs started before their time, or never`)
  broken.push(...checkRecoveries(lateMs, LATE_MS, 'starting a scheduled job'))
  const notes = [`${scheduled.length} jobs were scheduled; ${Math.round(commands)} commands a second at rest`]
  return { tally, recoveriesMs: lateMs, broken, notes }
}

/** Commands a second that Redis gets in the next `ms`. */
async function countCommands({ redis }: Stage, ms: number): Promise<number> {
  const client = createRedis({ url: redis.url, role: 'commands', name: 'faults' })
  try {
    const read = async () => Number(/total_commands_processed:(\d+)/.exec(await client.info('stats'))![1])
    const [before, since] = [await read(), performance.now()]
    await sleep(ms)
    return ((await read()) - before) / ((performance.now() - since) / 1000)
  } finally {
    await closeRedis(client)
  }
}
