import type { Readable } from 'node:stream'
import { z } from 'zod'
import type { LaneLimits } from '../../config/lanes.ts'
import { tenantOf } from '../auth.ts'
import type { Piece } from '../bulk/pieces.ts'
import { readUpload } from '../bulk/read-upload.ts'
import { createArraySplitter } from '../bulk/split-array.ts'
import { createLineSplitter } from '../bulk/split-lines.ts'
import type { Api, RouteContext } from '../deps.ts'
import { ApiError } from '../errors.ts'
import { bulkLineSchema } from '../jobs/create-schema.ts'
import { refuseEncodings } from '../json-body.ts'
import { refuseExcess } from '../json-bounds.ts'
import { LARGE_TEXT_BYTES, parseJson, parseLargeJson } from '../parse-json.ts'
import { errorResponses } from '../schemas/common.ts'
import { createAdder, type EstimatedTier, type LaneLoad, TIERS } from './add-up.ts'

const DAY_MS = 86_400_000

const tierSchema = z
  .object({
    usd: z.number().nullable().describe('At most; null: the price of a model is unknown.'),
    ends_at: z.iso.datetime().nullable().describe('The latest end; null: unknown.'),
  })
  .nullable()
  .describe('Null: no lane of the jobs has this tier.')
const tiersSchema = z.object({ standard: tierSchema, flex: tierSchema, batch: tierSchema })
const counts = {
  jobs: z.number(),
  shared: z.number().describe('Jobs that share the call of an equal one.'),
  input_tokens: z.number(),
  output_tokens: z.number().describe('If every answer is as long as its request allows.'),
  images: z.number().describe('Images requested.'),
  audio_seconds: z.number().describe('Seconds of audio sent.'),
}
const estimateSchema = z
  .object({
    object: z.literal('estimate'),
    ...counts,
    tiers: tiersSchema.describe('Sums of all jobs. On lanes without a tier they count at standard.'),
    lanes: z.array(
      z.object({
        lane: z.string(),
        ...counts,
        bound_by: z
          .string()
          .nullable()
          .describe(
            'The limit that takes longest, such as `tokens`, or `tokens of opus` for a shared limit; null: none.',
          ),
        tiers: tiersSchema,
      }),
    ),
    refused: z.object({
      count: z.number(),
      examples: z.array(
        z.object({ index: z.number(), error: z.object({ code: z.string(), message: z.string() }).loose() }),
      ),
    }),
  })
  .meta({ id: 'Estimate' })
type Tiers = z.output<typeof tiersSchema>

/** `POST /v1/estimate`: what jobs would cost at each tier, and when they would end. Creates nothing. */
export function registerEstimateRoute(app: Api, { deps, limits }: RouteContext): void {
  app.removeAllContentTypeParsers()
  const types = ['application/json', 'application/x-ndjson', 'application/ndjson', 'application/jsonl']
  app.addContentTypeParser(types, (_request, payload, done) => done(null, payload))

  /** When a lane's load has passed its own limits and those it shares, Unix ms, and the limit that takes longest. */
  async function forecastEnd(
    tenant: string,
    load: LaneLoad,
    loads: readonly LaneLoad[],
  ): Promise<{ end: number; boundBy: string | null }> {
    const { lane } = load
    const start = (await deps.lanes.forecast(lane.id, tenant, 'normal').catch(() => null)) ?? deps.now()
    const times = [
      ...timesUnder(lane.limits, [load], ''),
      ...(lane.shared ?? []).flatMap(({ name, limits: common }) => {
        const sharers = loads.filter(({ lane: { provider, shared } }) => {
          return provider === lane.provider && (shared ?? []).some((one) => one.name === name)
        })
        return timesUnder(common, sharers, ` of ${name}`)
      }),
    ]
    const longest = times.reduce((most, one) => (one.minutes > most.minutes ? one : most))
    return {
      end: Math.max(start, deps.now()) + Math.round(longest.minutes * 60_000),
      boundBy: longest.minutes > 0 ? longest.name : null,
    }
  }

  app.post(
    '/v1/estimate',
    {
      config: { access: 'read' },
      schema: {
        tags: ['Jobs'],
        operationId: 'estimate',
        summary: 'Estimate the cost and the end of jobs',
        description:
          `One create object, a JSON array or NDJSON of them; up to ${limits.bulkJobs} jobs or ${limits.bulkBytes} bytes. Nothing is created. ` +
          'Costs are upper bounds; times follow from the limits of the lanes and the jobs that wait there now.',
        consumes: ['application/json', 'application/x-ndjson'],
        body: z.union([bulkLineSchema, z.array(bulkLineSchema)]),
        response: { 200: estimateSchema, ...errorResponses },
      },
      validatorCompiler: () => (value: unknown) => ({ value }),
    },
    async (request) => {
      const { headers } = request
      refuseEncodings(headers['content-encoding'])
      const tenant = tenantOf(request)
      const adder = createAdder(tenant, deps)
      const body = (request.body ?? request.raw) as unknown as Readable
      const upload = readUpload(body, {
        idleTimeout: limits.bulkIdleTimeout,
        timeout: limits.bulkTimeout,
        now: () => performance.now(),
      })
      const isJson = headers['content-type']?.toLowerCase().startsWith('application/json') === true
      let index = 0
      for await (const piece of readPieces(upload, isJson, limits)) {
        if (index === limits.bulkJobs)
          throw new ApiError('payload_too_large', `body: more than ${limits.bulkJobs} jobs`)
        const at = index++
        try {
          await adder.add(at, await parsePiece(piece, limits.bodyBytes))
        } catch (error) {
          if (!(error instanceof ApiError)) throw error
          adder.refuse(at, error)
        }
      }
      const loads = [...adder.loads.values()]
      const ends = await Promise.all(loads.map((load) => forecastEnd(tenant.name, load, loads)))
      const lanes = loads.map((load, at) => describe(load, ends[at]!, deps.now()))
      return {
        object: 'estimate' as const,
        ...sumCounts(lanes),
        tiers: sumTiers(lanes.map(({ tiers }) => tiers)),
        lanes,
        refused: adder.refused,
      }
    },
  )
}

/** How long the loads take together under these limits, in minutes. */
function timesUnder(
  limits: LaneLimits,
  loads: readonly LaneLoad[],
  suffix: string,
): { name: string; minutes: number }[] {
  const time = (name: string, perMinute: number | undefined, amountOf: (load: LaneLoad) => number) => ({
    name: `${name}${suffix}`,
    minutes:
      perMinute === undefined
        ? 0
        : loads.reduce((sum, load) => sum + amountOf(load), 0) / (perMinute * limits.headroom),
  })
  return [
    time('requests', limits.requests_per_minute, (load) => load.jobs - load.shared),
    time('tokens', limits.tokens_per_minute, (load) => load.tokens),
    time('input tokens', limits.input_tokens_per_minute, (load) => load.inputTokens),
    time('images', limits.images_per_minute, (load) => load.images),
    time('seconds of sound', limits.audio_seconds_per_minute, (load) => load.audioSeconds),
  ]
}

async function* readPieces(
  upload: AsyncIterable<Buffer>,
  isJson: boolean,
  limits: { bodyBytes: number; bulkBytes: number },
): AsyncGenerator<Piece> {
  let splitter: ReturnType<typeof createLineSplitter> | null = null
  let received = 0
  for await (const chunk of upload) {
    received += chunk.length
    if (received > limits.bulkBytes)
      throw new ApiError('payload_too_large', `more than ${limits.bulkBytes} bytes`)
    // A single object is an upload with one job. It may contain line breaks anywhere.
    if (splitter === null && isJson && isBlank(chunk)) continue
    splitter ??= isJson
      ? createJson(chunk, limits.bodyBytes)
      : createLineSplitter({ limit: limits.bodyBytes })
    yield* splitter.push(chunk)
  }
  if (splitter === null)
    throw new ApiError('invalid_request', 'body: expected at least one job', { param: 'body' })
  yield* splitter.end()
}

function isBlank(chunk: Buffer): boolean {
  return chunk.toString('latin1').trim() === ''
}

function createJson(first: Buffer, limit: number): ReturnType<typeof createLineSplitter> {
  if (first.toString('latin1').trimStart().startsWith('[')) return createArraySplitter({ limit })
  const array = createArraySplitter({ limit })
  let isOpen = false
  return {
    *push(chunk) {
      if (!isOpen) yield* array.push(Buffer.from('['))
      isOpen = true
      yield* array.push(chunk)
    },
    *end() {
      yield* array.push(Buffer.from(']'))
      yield* array.end()
    },
  }
}

async function parsePiece(piece: Piece, limit: number): Promise<unknown> {
  if (piece.kind === 'broken') throw new ApiError('invalid_request', `body: ${piece.what}`, { param: 'body' })
  if (piece.kind === 'too_large') {
    if (piece.excess !== null) throw refuseExcess(piece.excess, 'body')
    throw new ApiError('payload_too_large', `this job is larger than ${limit} bytes`)
  }
  return piece.text.length >= LARGE_TEXT_BYTES
    ? parseLargeJson(piece.text, 'body')
    : parseJson(piece.text, 'body', { isScanned: true })
}

function describe(
  load: LaneLoad,
  { end: standardEnd, boundBy }: { end: number; boundBy: string | null },
  now: number,
) {
  const { lane, nano } = load
  const ends: Record<EstimatedTier, number> = {
    standard: standardEnd,
    // Jobs that flex has not answered by then go at standard.
    flex: standardEnd + (lane.tiers?.flex?.fall_back_after ?? 0),
    batch: Math.max(standardEnd, now + DAY_MS),
  }
  const tiers = Object.fromEntries(
    TIERS.map((tier) => {
      const sum = nano[tier]
      if (sum === undefined) return [tier, null]
      return [tier, { usd: sum === null ? null : sum / 1e9, ends_at: new Date(ends[tier]).toISOString() }]
    }),
  ) as Tiers
  return {
    lane: lane.id,
    jobs: load.jobs,
    shared: load.shared,
    input_tokens: load.inputTokens,
    output_tokens: load.outputTokens,
    images: load.images,
    audio_seconds: roundSeconds(load.audioSeconds),
    bound_by: boundBy,
    tiers,
  }
}

type Described = ReturnType<typeof describe>

function sumCounts(lanes: Described[]) {
  const add = (read: (lane: Described) => number) => lanes.reduce((sum, lane) => sum + read(lane), 0)
  return {
    jobs: add(({ jobs }) => jobs),
    shared: add(({ shared }) => shared),
    input_tokens: add((lane) => lane.input_tokens),
    output_tokens: add((lane) => lane.output_tokens),
    images: add(({ images }) => images),
    audio_seconds: roundSeconds(add((lane) => lane.audio_seconds)),
  }
}

/** Sums of thousandths have meaningless further digits. */
function roundSeconds(seconds: number): number {
  return Math.round(seconds * 1000) / 1000
}

/** Lanes work in parallel. A lane without the tier counts at standard. */
function sumTiers(lanes: Tiers[]): Tiers {
  const sum = (tier: EstimatedTier) => {
    if (!lanes.some((lane) => lane[tier] !== null)) return null
    const each = lanes.map((lane) => lane[tier] ?? lane.standard!)
    const isKnown = each.every(({ usd }) => usd !== null)
    const nano = each.reduce((total, { usd }) => total + Math.round((usd ?? 0) * 1e9), 0)
    const last = each
      .map(({ ends_at }) => ends_at ?? '')
      .sort()
      .at(-1)
    return { usd: isKnown ? nano / 1e9 : null, ends_at: last || null }
  }
  return { standard: sum('standard'), flex: sum('flex'), batch: sum('batch') }
}
