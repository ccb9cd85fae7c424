import { setTimeout as sleep } from 'node:timers/promises'
import { createRandom } from '../../simulator/random.ts'
import { get } from './client.ts'
import type { Fault, Outcome, Settings } from './fault.ts'
import {
  createOnce,
  createSchedule,
  deleteSchedule,
  judgeSettled,
  type Page,
  runsOf,
  type Schedule,
  settleSlots,
} from './scheduled.ts'
import { openStage } from './stage.ts'
import { strike, type Victim, victims, victimTitles } from './strike.ts'
import { tallyUp } from './tally.ts'
import { until } from './wait.ts'

const SCHEDULES = 8
const AT_ONCE = 1000
const PATIENCE_MS = 60_000

/**
 * Schedules with a slot every second, while workers, API processes or Redis are killed again and again. With each kill one more
 * schedule is created under an idempotency key. After the workers, a thousand slots at once.
 */
export const killSchedules: readonly Fault[] = victims.map((victim) => ({
  name: victim === 'worker' ? 'schedule-kill' : `schedule-kill-${victim}`,
  title: `${victimTitles[victim]} kill -9 in the middle of slots`,
  run: (settings) => run(victim, settings),
}))

async function run(victim: Victim, { kills, seed, stalledAfterMs, say, opened }: Settings): Promise<Outcome> {
  const random = createRandom(seed)
  const stage = await openStage({ apis: 2, simulator: ['--seed', String(seed)], stalledAfterMs })
  opened(stage)
  const url = () => stage.urls()[0]!
  const schedules = await Promise.all(
    Array.from({ length: SCHEDULES }, (_, at) =>
      createSchedule(url(), `killed ${at}`, { every: '1s', catch_up: 'all' }),
    ),
  )
  const broken: string[] = []
  const creations: Promise<Schedule>[] = []
  for (let kill = 1; kill <= kills; kill++) {
    await sleep(200 + 1500 * random())
    const creating = createOnce(stage.urls, `made at kill ${kill}`)
    creating.catch(() => {})
    creations.push(creating)
    await sleep(20 * random())
    await strike(stage, victim, random)
    if (kill % 5 === 0) say(`${kill} of ${kills} killed`)
  }
  const made = new Set((await Promise.all(creations)).map(({ id }) => id))
  const named = (await get<Page<Schedule>>(`${url()}/v1/schedules?limit=1000`))!.data.filter(({ name }) =>
    name.startsWith('made at kill'),
  )
  if (made.size !== kills || named.length !== kills)
    broken.push(`${kills} schedules were created, ${made.size} answered and ${named.length} exist`)
  const end = Date.now()
  let slots = 0
  for (const schedule of schedules) {
    slots += await settleSlots(url(), schedule, end)
    broken.push(...(await judgeSettled(url(), schedule.id)))
    // A tenant may have a thousand.
    await deleteSchedule(url(), schedule.id)
  }
  for (const { id } of named) await deleteSchedule(url(), id)
  const notes = [`seed ${seed}, ${kills} kills, ${slots} slots`]
  if (victim === 'worker')
    notes.push(`${AT_ONCE} slots at once: the last job after ${await runAtOnce(url(), broken)} ms`)
  return { tally: tallyUp([], []), recoveriesMs: [], broken, notes }
}

/** A thousand schedules with one slot at the same instant: how late their last job is, ms. */
async function runAtOnce(url: string, broken: string[]): Promise<number> {
  const startsAt = new Date(Date.now() + 15_000).toISOString()
  const members = { every: '1h', starts_at: startsAt, max_runs: 1 }
  const ids: string[] = []
  for (let at = 0; at < AT_ONCE; at += 20) {
    const some = Array.from({ length: 20 }, (_, index) =>
      createSchedule(url, `at once ${at + index}`, members),
    )
    ids.push(...(await Promise.all(some)).map(({ id }) => id))
  }
  await sleep(Math.max(0, Date.parse(startsAt) - Date.now()))
  await until(
    async () =>
      (await runsOf(url, ids.at(-1)!)).length > 0 && (await runsOf(url, ids[0]!)).length > 0 ? true : null,
    PATIENCE_MS,
    'the slots at once',
  )
  await sleep(3000)
  const late: number[] = []
  for (const id of ids) {
    const [run] = await runsOf(url, id)
    if (run?.outcome !== 'created') broken.push(`${id} was not run: ${run?.outcome}`)
    else late.push(Date.parse(run.started_at) - Date.parse(run.scheduled_for))
  }
  return Math.max(...late)
}
