/**
 * What the history costs and how fast it answers: copies a million jobs into a database, in the blocks of the mover, then reads lists,
 * searches and usage.
 *
 *   npm run bench:history -- sqlite:/tmp/history-bench.db
 *   npm run bench:history -- postgres://user@127.0.0.1/bench 200000
 *
 * The database is left as it is. One that has these jobs already is only read.
 */
import { openDatabase } from '../history/database.ts'
import type { HistoryFilter } from '../history/filter.ts'
import { createFinder } from '../history/find.ts'
import type { FinishedJob } from '../history/finished-job.ts'
import { migrate } from '../history/migrate.ts'
import { createHistoryStore } from '../history/store.ts'
import { readUsage, type UsageName } from '../history/usage.ts'

const [url = 'sqlite:.sluice/history-bench.db', asked = '1000000'] = process.argv.slice(2)
const JOBS = Number(asked)
/** As many as the mover copies. */
const BLOCK = 200
const PREFIX = 'bench'
const ROOT = `${PREFIX}:{t:acme}`
const DAY_MS = 86_400_000
const START = Date.parse('2026-09-01T00:00:00Z')
/** Between two jobs, ms: spread over 90 days. */
const STEP_MS = (90 * DAY_MS) / JOBS
const READS = 100

const ATTEMPTS = JSON.stringify({
  1: '{"provider":"openai","model":"m","started_at":1,"waited_ms":3}',
  '1:end': '{"outcome":"completed","latency_ms":800}',
})
const body = Buffer.alloc(480, 'a prompt of a small chat ')
const answer = Buffer.alloc(600, 'an answer of a hundred tokens ')

function makeJob(at: number): FinishedJob {
  const id = `job_${at.toString(16).padStart(12, '0')}7${at.toString(16).padStart(19, '0')}`
  const time = Math.floor(START + at * STEP_MS)
  const isFailed = at % 50 === 0
  const model = `openai/model-${at % 5}`
  const record: Record<string, string> = {
    ...{ type: 'chat', status: isFailed ? 'failed' : 'completed', model, lane: model, priority: 'normal' },
    ...{ created_at: String(time), started_at: String(time), finished_at: String(time + 900) },
    ...{
      hash: at.toString(16).padStart(64, '0'),
      cache: 'miss',
      attempts: '1',
      max_attempts: '6',
      calls: '1',
    },
    ...{ cost_usd: `${(at % 1000) / 1e5}`, group: `group-${at % 1000}`, request_id: `req_${at}` },
    metadata: JSON.stringify({ user: `u${at % 10_000}`, feature: `f${at % 20}` }),
    usage: '{"input_tokens":120,"output_tokens":100,"total_tokens":220}',
    ...(isFailed
      ? { error: JSON.stringify({ code: at % 100 ? 'timeout' : 'bad_request', message: 'x' }) }
      : {}),
  }
  const day = new Date(time).toISOString().slice(0, 10)
  return {
    ...{ id, record, body, deliveries: [], eventCount: 3, schedule: null, isNew: true },
    result: isFailed ? null : { key: `result:${id}`, value: answer },
    texts: { record: JSON.stringify(record), attempts: ATTEMPTS, deliveries: '[]' },
    usage: {
      ...{ day, model, tier: 'standard', fair_key: `k${at % 50}`, fair_label: `${id}\n"k${at % 50}"` },
      ...{ jobs: 1, calls: 1, input_tokens: 120, output_tokens: 100, cost_nano: (at % 1000) * 10_000 },
    },
  }
}

const database = openDatabase(url)
await migrate(database)
const store = createHistoryStore(database)
const finder = createFinder(database)

if ((await finder.page(ROOT, {}, 'desc', null, 1)).places.length > 0) console.log('reads the existing jobs')
else await copy()

async function copy(): Promise<void> {
  const begun = performance.now()
  const before = process.cpuUsage()
  for (let at = 0; at < JOBS; at += BLOCK) {
    const jobs = Array.from({ length: Math.min(BLOCK, JOBS - at) }, (_, next) => makeJob(at + next))
    await store.save(ROOT, at + 1, jobs, 365 * DAY_MS)
  }
  const seconds = (performance.now() - begun) / 1000
  const { user, system } = process.cpuUsage(before)
  console.log(
    `copied ${JOBS} jobs: ${Math.round(JOBS / seconds)} a second, ${((user + system) / JOBS).toFixed(0)} µs of CPU each, in this process`,
  )
}

async function time(name: string, read: (turn: number) => Promise<unknown>): Promise<void> {
  const spans: number[] = []
  for (let turn = 0; turn < READS; turn++) {
    const from = performance.now()
    await read(turn)
    spans.push(performance.now() - from)
  }
  spans.sort((a, b) => a - b)
  const at = (share: number) => spans[Math.floor(READS * share)]!.toFixed(1)
  console.log(`${name.padEnd(40)} p50 ${at(0.5)} ms  p95 ${at(0.95)} ms`)
}

/** A page as the list reads it: the places, then the rows. */
const page = (filter: HistoryFilter) => async (turn: number) => {
  const createdAt = START + Math.floor(((turn + 1) / (READS + 1)) * 90 * DAY_MS)
  const { places } = await finder.page(ROOT, filter, 'desc', { createdAt, id: 'job_' }, 101)
  await finder.rows(
    ROOT,
    places.map(({ id }) => id),
  )
}
await time('list, 100 jobs', page({}))
await time('list of a status', page({ status: 'failed' }))
await time('list of a group', page({ group: 'group-7' }))
await time('search by metadata', page({ metadata: { user: 'u77' } }))
await time('search by two pairs of metadata', page({ metadata: { user: 'u77', feature: 'f17' } }))
await time('the same, the frequent pair first', page({ metadata: { feature: 'f17', user: 'u77' } }))
await time('search by metadata and status', page({ metadata: { feature: 'f17' }, status: 'cancelled' }))
await time('search by error code', page({ errorCode: 'bad_request' }))
await time('search by cost, a job in a thousand', page({ minCostUsd: 0.009_99 }))
await time('search by cost, none found', page({ minCostUsd: 5 }))
await time('search by cost, none that expensive', page({ minCostUsd: 0.009_999 }))
await time('list of a type, none found', page({ type: 'image' }))
const range = { prefix: PREFIX, tenant: 'acme', from: '2026-09-01', to: '2026-12-31', top: null }
const usage =
  (...by: UsageName[]) =>
  () =>
    readUsage(database, { ...range, by }, (_root, label) => label.split('\n')[1]!)
await time('usage by day', usage('day'))
await time('usage by model and tier', usage('model', 'tier'))
await time('usage by fair key', usage('fair_key'))
await time('usage by fair key, the top 20', () =>
  readUsage(database, { ...range, by: ['fair_key'], top: 20 }, (_root, label) => label.split('\n')[1]!),
)
await time('a group, 1/1000 of all', () => finder.groupCounts(ROOT, 'group-7', Number.MAX_SAFE_INTEGER))
await database.close()
