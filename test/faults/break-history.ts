import { setTimeout as sleep } from 'node:timers/promises'
import { createRandom } from '../../simulator/random.ts'
import { ANSWERS_MS } from './break-redis.ts'
import { get } from './client.ts'
import { checkRecoveries, describeAnswers, type Fault, type Outcome, type Settings } from './fault.ts'
import {
  type BreakableDatabase,
  openFullPostgres,
  openFullSqlite,
  openLockedSqlite,
  openPostgres,
  openSlowPostgres,
} from './history-database.ts'
import { judge } from './judge.ts'
import { type Load, startLoad } from './load.ts'
import { openStage, type Stage } from './stage.ts'
import { tallyUp } from './tally.ts'
import { until } from './wait.ts'

type Break = {
  name: string
  title: string
  /** Null: this machine cannot do it. */
  open(): Promise<BreakableDatabase | null>
  times?: number
  /** It is unavailable while the processes start. */
  isLate?: boolean
  /** Redis has room for so many more bytes until new work is refused, and prompts are large. */
  roomBytes?: number
}

const PER_SECOND = 8
/** Load before, between and after the breaks. */
const CALM_MS = 5000
/** From the end of the fault until all waiting jobs are copied. */
const CAUGHT_UP_MS = 30_000
/** The longest time for a query to the database. */
const COLD_MS = 4000
/** Warnings of one process over the whole run, however many jobs wait. */
const MOST_WARNINGS = 10
const SLOW_MS = 3000
const PROMPT_CHARACTERS = 20_000

const BREAKS: Break[] = [
  {
    name: 'history-kill',
    title: 'history: PostgreSQL kill -9, three times',
    open: () =>
      openPostgres(async (server) => {
        await server.kill()
        return server.start
      }),
    times: 3,
  },
  {
    name: 'history-stop',
    title: 'history: PostgreSQL stopped',
    open: () =>
      openPostgres(async (server) => {
        await server.stop()
        return server.start
      }),
  },
  {
    name: 'history-late',
    title: 'history: PostgreSQL that comes up after the processes',
    open: () =>
      openPostgres(async (server) => {
        await server.stop()
        return server.start
      }),
    isLate: true,
  },
  {
    name: 'history-memory',
    title: 'history: PostgreSQL stopped until the memory of Redis is short',
    open: () =>
      openPostgres(async (server) => {
        await server.stop()
        return server.start
      }),
    roomBytes: 3 * 1024 * 1024,
  },
  {
    name: 'history-freeze',
    title: 'history: PostgreSQL frozen (SIGSTOP)',
    open: () =>
      openPostgres(async (server) => {
        const thaw = await server.freeze()
        return async () => thaw()
      }),
  },
  {
    name: 'history-slow',
    title: 'history: PostgreSQL whose every answer takes 3 s more',
    open: () => openSlowPostgres(SLOW_MS / 2),
  },
  { name: 'history-full', title: 'history: PostgreSQL whose disk is full', open: openFullPostgres },
  { name: 'history-full-sqlite', title: 'history: SQLite whose disk is full', open: openFullSqlite },
  {
    name: 'history-locked',
    title: 'history: SQLite that another program has locked',
    open: openLockedSqlite,
  },
]

/** The database of ended jobs becomes unavailable under load, in several ways. Redis is healthy. */
export const breakHistory: Fault[] = BREAKS.map((kind) => ({
  name: kind.name,
  title: kind.title,
  async run(settings) {
    const database = await kind.open()
    if (database === null) {
      const notes = ['left out: this user may not mount a small disk']
      return { tally: tallyUp([], []), recoveriesMs: [], broken: [], notes }
    }
    try {
      return await run(kind, database, settings)
    } finally {
      await database.close()
    }
  },
}))

async function run(kind: Break, database: BreakableDatabase, settings: Settings): Promise<Outcome> {
  const group = kind.name
  const random = createRandom(settings.seed)
  const late = kind.isLate ? await database.strike() : null
  const stage = await openStage({
    ...{ apis: 1, workers: 2, history: database.url, stalledAfterMs: settings.stalledAfterMs },
    simulator: ['--latency', '300', '--jitter', '300', '--seed', String(settings.seed)],
  })
  settings.opened(stage)
  const large = kind.roomBytes === undefined ? {} : { mark: () => composeText(random) }
  const load = startLoad({ urls: stage.urls, random, group, perSecond: PER_SECOND, ...large })
  const times = late === null ? (settings.quick ? Math.min(2, kind.times ?? 1) : (kind.times ?? 1)) : 1
  // Refused clients try again for a minute and a half.
  const outageMs = kind.roomBytes
    ? settings.quick
      ? 25_000
      : 60_000
    : (settings.quick ? 9000 : 90_000) / (kind.times ?? 1)
  const broken: string[] = []
  const recoveriesMs: number[] = []
  const seen = new Readings()
  try {
    for (let time = 1; time <= times; time++) {
      await sleep(CALM_MS)
      if (late === null) await until(() => isCopied(stage), CAUGHT_UP_MS, 'a copy of all that ended')
      const widen = kind.roomBytes === undefined ? null : await stage.redis.narrow(kind.roomBytes)
      const mend = late ?? (await database.strike())
      await watch(stage, load, seen, outageMs)
      await mend()
      const mendedAt = performance.now()
      await until(() => isCopied(stage), 2 * CAUGHT_UP_MS, 'a copy of all that ended in between')
      recoveriesMs.push(performance.now() - mendedAt)
      if (widen !== null) broken.push(...(await checkMemory(load, widen)))
      settings.say(`back ${time} of ${times}`)
    }
  } finally {
    await load.stop()
  }
  const judged = await judge(stage, load, group, 4 * settings.stalledAfterMs + 60_000)
  const { tally } = judged
  broken.push(...judged.broken)
  if (seen.waiting < PER_SECOND) broken.push('no job waited for the database: it was not broken')
  broken.push(...seen.broken, ...(await findMissing(stage, load, group)))
  broken.push(...checkRecoveries(recoveriesMs, CAUGHT_UP_MS, 'copying all that ended in between'))
  if (load.slowestMs > ANSWERS_MS)
    broken.push(`a client waited ${Math.round(load.slowestMs)} ms for its answer`)
  for (const child of [...stage.apis, ...stage.workers]) {
    if (child.warnings.length <= MOST_WARNINGS) continue
    broken.push(`${child.name} logged ${child.warnings.length} warnings, such as ${child.warnings.at(-1)}`)
  }
  return { tally, recoveriesMs, broken, notes: [describeAnswers(load), seen.describe()] }
}

/** A text unlike any other, which packing does not make small. */
function composeText(random: () => number): string {
  return Array.from({ length: PROMPT_CHARACTERS / 10 }, () => random().toString(36).slice(2, 12)).join('')
}

/** New work was refused, and no accepted job was. */
async function checkMemory(load: Load, widen: () => Promise<number>): Promise<string[]> {
  const refused = await widen()
  return [
    ...(refused > 0 ? [`Redis refused ${refused} commands for want of memory`] : []),
    ...(load.answers.has(503) ? [] : ['no new work was refused: the memory was not short']),
  ]
}

/** What was answered while the database was unavailable. */
class Readings {
  readonly broken: string[] = []
  readonly states = new Set<string>()
  hotMs = 0
  coldMs = 0
  refused = 0
  waiting = 0

  describe(): string {
    const slowest = `a job of Redis was read in ${Math.round(this.hotMs)} ms at the most, one of the database answered in ${Math.round(this.coldMs)} ms`
    return `${slowest}, ${this.refused} times with 503; up to ${this.waiting} jobs waited; /readyz said ${[...this.states].join(', ')}`
  }
}

/** Reads jobs that Redis has, and one that it does not have, again and again. */
async function watch(stage: Stage, load: Load, seen: Readings, ms: number): Promise<void> {
  const until = performance.now() + ms
  const [url] = stage.urls() as [string]
  const old = load.sent.find(({ id }) => id !== null)?.id
  while (performance.now() < until) {
    const newest = load.sent.findLast(({ id }) => id !== null)?.id
    if (newest) {
      const { status, ms: took } = await ask(`${url}/v1/jobs/${newest}`)
      if (status !== 200) seen.broken.push(`a job that Redis has was answered ${status}`)
      seen.hotMs = Math.max(seen.hotMs, took)
    }
    if (old) {
      const { status, ms: took } = await ask(`${url}/v1/jobs/${old}`)
      if (status !== 200 && status !== 503) seen.broken.push(`a job of the database was answered ${status}`)
      if (status === 503) seen.refused++
      seen.coldMs = Math.max(seen.coldMs, took)
    }
    const ready = await ask(`${url}/readyz`)
    if (ready.status !== 200) seen.broken.push(`/readyz answered ${ready.status}`)
    seen.states.add(String(ready.body.history))
    seen.waiting = Math.max(seen.waiting, await readMetric(url, 'sluice_history_waiting_jobs'))
    await sleep(300)
  }
  // The database's part of an answer is bounded.
  if (seen.hotMs > ANSWERS_MS) seen.broken.push(`a job of Redis was read in ${Math.round(seen.hotMs)} ms`)
  if (seen.coldMs > COLD_MS) seen.broken.push(`a query took ${Math.round(seen.coldMs)} ms`)
}

async function ask(url: string): Promise<{ status: number; ms: number; body: { history?: string } }> {
  const startedAt = performance.now()
  const response = await fetch(url, { signal: AbortSignal.timeout(20_000) })
  const body = (await response.json()) as { history?: string }
  return { status: response.status, ms: performance.now() - startedAt, body }
}

/** True once the database answers and no ended job has waited for it for long; new ones end all the time. */
async function isCopied(stage: Stage): Promise<true | null> {
  const [url] = stage.urls() as [string]
  return (await readMetric(url, 'sluice_history_up')) === 1 &&
    (await readMetric(url, 'sluice_history_lag_seconds')) < 2
    ? true
    : null
}

async function readMetric(url: string, name: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text()
  return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1] ?? Number.NaN)
}

/** Every accepted job is in the list and in the sums once. */
async function findMissing(stage: Stage, load: Load, group: string): Promise<string[]> {
  const [url] = stage.urls() as [string]
  const ids = new Set<string>()
  const accepted = load.sent.filter(({ id }) => id !== null)
  let after = ''
  for (;;) {
    type Page = { data: { id: string }[]; has_more: boolean; last_id: string | null }
    const page: Page = (await get<Page>(`${url}/v1/jobs?group=${group}&limit=500${after}`))!
    for (const { id } of page.data) ids.add(id)
    if (!page.has_more) break
    after = `&after=${page.last_id}`
  }
  const broken: string[] = []
  if (ids.size !== accepted.length) broken.push(`${ids.size} of ${accepted.length} jobs are in the list`)
  const counted = async () => {
    const usage = await get<{ data: { jobs: number }[] }>(`${url}/v1/usage`)
    const jobs = usage!.data.reduce((sum, entry) => sum + entry.jobs, 0)
    return jobs === accepted.length ? true : null
  }
  await until(counted, CAUGHT_UP_MS, `the sums of ${accepted.length} jobs`).catch((error: Error) =>
    broken.push(error.message),
  )
  return broken
}
