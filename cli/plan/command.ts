import { findConfigPath, loadConfig } from '../../config/load.ts'
import { estimateSeconds, HEAD_BYTES } from '../../lib/audio-length.ts'
import { type Client, RefusedError } from '../client.ts'
import { CliError, ExitCode } from '../exit.ts'
import { formatDuration, formatNumber, formatUsd } from '../format.ts'
import { refuseInput } from '../input-file.ts'
import type { LaneView } from '../lane-view.ts'
import { readRequests } from '../submit/read-input.ts'
import { type Column, renderColumns, widthOf } from '../table.ts'
import { connect, type Terminal } from '../terminal.ts'
import { addUpLoad, type LaneLoad, type Load } from './estimate.ts'
import { forecastLane, forecastTiers, type LaneForecast } from './forecast.ts'

export type PlanOptions = {
  config?: string
  url?: string
  key?: string
  outputTokens: number
  json?: boolean
}

/** A dry run does not wait for a server. */
const PATIENCE_MS = 1_000

/** `plan FILE`: estimates duration and costs under the current limits, without calls. Exit code 1 if lines would be refused. */
export async function runPlan(terminal: Terminal, file: string, options: PlanOptions): Promise<ExitCode> {
  const { env, cwd } = terminal
  const path = findConfigPath({ env, cwd, ...(options.config === undefined ? {} : { path: options.config }) })
  const config = loadConfig({ path, env })
  const server = options.url === undefined ? null : await askServer(terminal, options.url, options.key)
  const views = server?.views ?? null
  const load = await addUpLoad(readRequests(file), config, options.outputTokens, server?.secondsOf).catch(
    (error: unknown) => {
      throw refuseInput(error, file)
    },
  )
  const planned = load.lanes.map((lane) => ({
    ...lane,
    ...forecastLane(lane, views?.find(({ id }) => id === lane.lane.id) ?? null, load.lanes),
  }))
  await terminal.write(
    options.json
      ? renderJson(planned, load)
      : renderPlan(planned, load, { ...options, width: widthOf(terminal.stdout) }),
  )
  return load.refused.count === 0 ? ExitCode.ok : ExitCode.failed
}

type Server = {
  /** The current lanes. */
  views: LaneView[]
  /** Duration of the audio in a file, s, by its beginning and its size; null: there is no such file. */
  secondsOf: (file: string) => Promise<number | null>
}

/** Null if the server does not answer: then the configured limits are used. */
async function askServer(terminal: Terminal, url: string, key: string | undefined): Promise<Server | null> {
  const options = { url, ...(key === undefined ? {} : { key }) }
  const client = connect(terminal, options, { patienceMs: PATIENCE_MS })
  const known = new Map<string, Promise<number | null>>()
  try {
    const { data: views } = await client.json<{ data: LaneView[] }>('GET', '/v1/lanes')
    return {
      views,
      secondsOf(file) {
        const seconds = known.get(file) ?? readSeconds(client, file)
        known.set(file, seconds)
        return seconds
      },
    }
  } catch (error) {
    terminal.signal.throwIfAborted()
    if (!(error instanceof CliError)) throw error
    if (error.exitCode === ExitCode.usage) throw error
    terminal.note(`planned without the server: ${error.message}`)
    return null
  }
}

async function readSeconds(client: Client, file: string): Promise<number | null> {
  const path = `/v1/files/${encodeURIComponent(file)}`
  try {
    const { bytes } = await client.json<{ bytes: number }>('GET', path)
    const content = await client.open(`${path}/content`)
    let head = Buffer.alloc(0)
    try {
      for (
        let part = await content.read();
        part !== null && head.length < HEAD_BYTES;
        part = await content.read()
      )
        head = Buffer.concat([head, part])
    } finally {
      content.close()
    }
    return estimateSeconds(head.subarray(0, HEAD_BYTES), bytes)
  } catch (error) {
    if (error instanceof RefusedError && error.status === 404) return null
    throw error
  }
}

type Planned = LaneLoad & LaneForecast

function sumUp(planned: Planned[]) {
  const add = (read: (lane: Planned) => number) => planned.reduce((sum, lane) => sum + read(lane), 0)
  return {
    jobs: add(({ jobs }) => jobs),
    shared: add(({ shared }) => shared),
    calls: add(({ calls }) => calls),
    usd: addUsd(planned.map(({ usd }) => usd)),
    tiers: {
      standard: addUsd(planned.map(({ usd }) => usd)),
      flex: addUsd(planned.map(({ usdByTier }) => usdByTier.flex)),
      batch: addUsd(planned.map(({ usdByTier }) => usdByTier.batch)),
    },
    // Lanes work in parallel.
    seconds: lastOf(planned, 'standard'),
    tier_seconds: {
      standard: lastOf(planned, 'standard'),
      flex: lastOf(planned, 'flex'),
      batch: lastOf(planned, 'batch'),
    },
  }
}

function lastOf(planned: Planned[], tier: keyof ReturnType<typeof forecastTiers>): number {
  return Math.max(0, ...planned.map((one) => forecastTiers(one.lane, one)[tier]))
}

/** Null: the price of a lane is unknown. */
function addUsd(each: (number | null)[]): number | null {
  if (each.includes(null)) return null
  return each.reduce((sum: number, usd) => sum + Math.round((usd ?? 0) * 1e9), 0) / 1e9
}

function renderJson(planned: Planned[], { refused }: Load): string {
  const lanes = planned.map((one) => ({
    lane: one.lane.id,
    jobs: one.jobs,
    shared: one.shared,
    calls: one.calls,
    tokens: one.tokens,
    input_tokens: one.inputTokens,
    output_tokens: one.outputTokens,
    images: one.images,
    audio_seconds: Math.round(one.audioSeconds * 1000) / 1000,
    backlog_seconds: one.backlogSeconds,
    seconds: one.seconds,
    bound_by: one.boundBy,
    usd: one.usd,
    tiers: { standard: one.usd, ...one.usdByTier },
    tier_seconds: forecastTiers(one.lane, one),
  }))
  return `${JSON.stringify({ ...sumUp(planned), lanes, refused })}\n`
}

const right = 'right' as const
const COLUMNS: Column[] = [
  { title: 'LANE', least: 12 },
  { title: 'JOBS', side: right },
  { title: 'CALLS', side: right },
  { title: 'TOKENS', side: right, leaveOut: 1 },
  { title: 'BACKLOG', side: right, leaveOut: 2 },
  { title: 'TAKES', side: right },
  { title: 'LIMITED BY', least: 10 },
  { title: 'AT MOST', side: right },
]

function renderPlan(
  planned: Planned[],
  { refused }: Load,
  { outputTokens, width }: { outputTokens: number; width: number },
): string {
  const rows = planned.map((one) => [
    one.lane.id,
    formatNumber(one.jobs),
    formatNumber(one.calls),
    formatNumber(one.tokens),
    one.backlogSeconds === null ? '-' : formatDuration(one.backlogSeconds),
    one.seconds === null ? 'no limit' : formatDuration(one.seconds),
    one.boundBy ?? '-',
    one.usd === null ? '-' : formatUsd(one.usd),
  ])
  const table = renderColumns(COLUMNS, rows, width)
  const sum = sumUp(planned)
  const lines = [
    `${formatNumber(sum.jobs)} jobs in ${formatNumber(sum.calls)} calls (${formatNumber(sum.shared)} share the call of an equal job): ` +
      `about ${formatDuration(sum.seconds)}, at most ${sum.usd === null ? 'an unknown price' : formatUsd(sum.usd)}`,
    `(answers without a maximum count as ${formatNumber(outputTokens)} tokens; change this with --output-tokens)`,
  ]
  if (planned.some(({ lane: { tiers } }) => tiers?.flex != null || tiers?.batch != null)) {
    const each = (['standard', 'flex', 'batch'] as const).map((tier) => {
      const usd = sum.tiers[tier]
      return `${tier} ${usd === null ? 'an unknown price' : formatUsd(usd)} within ${formatDuration(sum.tier_seconds[tier])}`
    })
    lines.push(`by tier, at most: ${each.join(', ')}`)
  }
  const unpriced = planned.filter(({ usd }) => usd === null).map(({ lane }) => lane.id)
  if (unpriced.length > 0) lines.push(`without a price: ${unpriced.join(', ')}`)
  if (refused.count > 0) {
    lines.push(`${formatNumber(refused.count)} lines would be refused:`)
    for (const { line, reason } of refused.examples) lines.push(`  line ${line}: ${reason}`)
  }
  return `${table}\n${lines.join('\n')}\n`
}
