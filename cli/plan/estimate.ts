import { hash } from 'node:crypto'
import canonicalize from 'canonicalize'
import { type Lane, type LaneLimits, listBounds, resolveModel } from '../../config/lanes.ts'
import type { Config } from '../../config/schema.ts'
import { CallType } from '../../lib/call-type.ts'
import { listInputFiles } from '../../lib/input-files.ts'
import { isJsonObject, type JsonObject } from '../../lib/json.ts'
import { priceInNano } from '../../lib/price.ts'
import { type CostEstimate, estimateCost } from '../../providers/accounting.ts'
import { readCoalesceKey } from '../../providers/coalesce-key.ts'
import { countImages, isWithoutOutput, takesAudio } from '../../providers/endpoints.ts'
import type { LineRequest } from '../submit/read-request.ts'

/** The load of one lane. */
export type LaneLoad = {
  lane: Lane
  jobs: number
  /** Jobs that share the call of an equal job. */
  shared: number
  /** Requests to the provider. Embedding jobs in one request count as one. */
  calls: number
  tokens: number
  inputTokens: number
  outputTokens: number
  /** Requested images, and seconds of audio that are sent. */
  images: number
  audioSeconds: number
  /** Jobs whose audio is not counted, because the duration of their files is unknown. */
  unheard: number
  /** USD if every answer had the maximum length of its body; null: the lane has no price. */
  usd: number | null
  /** The same at the cheaper tiers; at standard if the lane does not have the tier. */
  usdByTier: Record<CheapTier, number | null>
}

export type CheapTier = 'flex' | 'batch'

export type Load = {
  lanes: LaneLoad[]
  /** Lines that the server would refuse, with the first ones as examples. */
  refused: { count: number; examples: { line: number; reason: string }[] }
}

const callTypes: readonly string[] = Object.values(CallType)
const MOST_EXAMPLES = 5

type CountedLane = Omit<LaneLoad, 'usd' | 'usdByTier'> & {
  /** Billionths of a dollar. */
  nano: Record<'standard' | CheapTier, number>
  packs: Map<string, { inputs: number; tokens: number }>
}

/**
 * Adds up the load of the lines of a file per lane, with the arithmetic of the gate and without calls.
 *
 * @param outputTokens length of an answer whose body sets no maximum; only for the price, because the gate counts none either
 * @param secondsOf duration of the audio in a file that a job names; null: there is no such file. Absent: audio is not counted
 */
export async function addUpLoad(
  requests: AsyncIterable<LineRequest>,
  config: Config,
  outputTokens: number,
  secondsOf?: (file: string) => Promise<number | null>,
): Promise<Load> {
  const lanes = new Map<string, CountedLane>()
  // Eleven characters of a hash: two different lines among ten million count as equal in one of half a million files.
  const seen = new Set<string>()
  const refused: Load['refused'] = { count: 0, examples: [] }

  for await (const request of requests) {
    const reason = await add(request)
    if (reason === null) continue
    refused.count++
    if (refused.examples.length < MOST_EXAMPLES) refused.examples.push({ line: request.line, reason })
  }
  const loads = [...lanes.values()].map(({ packs: _packs, nano, ...load }): LaneLoad => {
    const toUsd = (sum: number) => (load.lane.price === null ? null : sum / 1e9)
    return {
      ...load,
      usd: toUsd(nano.standard),
      usdByTier: { flex: toUsd(nano.flex), batch: toUsd(nano.batch) },
    }
  })
  return { lanes: loads, refused }

  async function add(request: LineRequest): Promise<string | null> {
    if ('fault' in request) return request.fault.message
    const { type, body, cache } = request.create
    if (typeof type !== 'string' || !callTypes.includes(type))
      return `type: expected one of ${callTypes.join(', ')}`
    if (!isJsonObject(body) || typeof body.model !== 'string') return 'body.model: expected a model'
    const lane = resolveModel(config, body.model)?.lanes[0]
    if (lane === undefined) return `body.model: there is no model ${JSON.stringify(body.model)}`
    const seconds = await hear(type as CallType, body)
    if (typeof seconds === 'string') return seconds
    const cost = {
      ...estimateCost({ kind: lane.kind, type: type as CallType, body }),
      images: countImages(type as CallType, body),
      audioSeconds: seconds ?? 0,
    }
    const { anyOf, allOf } = listBounds(lane)
    if (!anyOf.some((limits) => fits(limits, cost)) || !allOf.every(({ limits }) => fits(limits, cost)))
      return `needs more at once than ${lane.id} allows`

    const load = lanes.get(lane.id) ?? begin(lane)
    lanes.set(lane.id, load)
    load.jobs++
    const content = hash('sha256', `${type}\n${canonicalize(body)}`, 'base64url').slice(0, 11)
    if (cache !== 'off' && cache !== 'refresh' && seen.has(content)) load.shared++
    else {
      seen.add(content)
      charge(load, type as CallType, body, cost, outputTokens)
      if (seconds === null) load.unheard++
    }
    return null
  }

  /** Seconds of audio that a call sends; null: unknown. A string is the reason for a refusal. */
  async function hear(type: CallType, body: JsonObject): Promise<number | null | string> {
    if (!takesAudio(type)) return 0
    if (secondsOf === undefined) return null
    let sum = 0
    for (const { member, ids } of listInputFiles(type, body)) {
      for (const id of ids) {
        const seconds = await secondsOf(id)
        if (seconds === null) return `body.${member}: there is no file ${id}`
        sum += seconds
      }
    }
    return sum
  }
}

type MediaCost = CostEstimate & { images: number; audioSeconds: number }

function begin(lane: Lane): CountedLane {
  const none = {
    ...{ jobs: 0, shared: 0, calls: 0, tokens: 0, inputTokens: 0, outputTokens: 0 },
    ...{ images: 0, audioSeconds: 0, unheard: 0 },
  }
  return { lane, ...none, nano: { standard: 0, flex: 0, batch: 0 }, packs: new Map() }
}

function charge(
  load: CountedLane,
  type: CallType,
  body: JsonObject,
  cost: MediaCost,
  outputTokens: number,
): void {
  const { images, audioSeconds } = cost
  load.tokens += cost.tokens
  load.inputTokens += cost.inputTokens
  load.outputTokens += cost.outputTokens
  load.images += images
  load.audioSeconds += audioSeconds
  // OpenAI's rule uses the maximum if there is one. It does not depend on what the provider's limits count.
  const longest = estimateCost({ kind: 'openai', type, body, expectedOutputTokens: outputTokens })
  const usage = {
    input_tokens: cost.inputTokens,
    // Each image is a separate answer.
    output_tokens: longest.outputTokens * Math.max(1, images),
    ...{ images, audio_seconds: audioSeconds },
  }
  const { price, tiers } = load.lane
  if (price !== null) {
    const hasFlex = !isWithoutOutput(type) && tiers?.flex != null
    load.nano.standard += priceInNano(price, usage)
    load.nano.flex += priceInNano(price, usage, hasFlex ? 'flex' : 'standard')
    load.nano.batch += priceInNano(price, usage, tiers?.batch == null ? 'standard' : 'batch')
  }
  if (startsCall(load, type, body, cost)) load.calls++
}

/** Whether the job starts a new call. Embedding jobs that differ only in their input fill one request after the other. */
function startsCall(
  { lane, packs }: CountedLane,
  type: CallType,
  body: JsonObject,
  { inputs, tokens }: CostEstimate,
): boolean {
  const key = lane.coalesce === null ? null : readCoalesceKey(type, body)
  if (key === null || lane.coalesce === null) return true
  const pack = packs.get(key)
  const fitsIn =
    pack !== undefined &&
    pack.inputs + inputs <= lane.coalesce.max_inputs &&
    pack.tokens + tokens <= lane.coalesce.max_tokens
  if (fitsIn) {
    pack.inputs += inputs
    pack.tokens += tokens
  } else packs.set(key, { inputs, tokens })
  return !fitsIn
}

/** A request larger than a whole window would be refused. */
function fits(limits: LaneLimits, cost: MediaCost): boolean {
  const windows = 60_000 / limits.window
  const pairs = [
    [cost.tokens, limits.tokens_per_minute],
    [cost.inputTokens, limits.input_tokens_per_minute],
    [cost.outputTokens, limits.output_tokens_per_minute],
    [cost.images, limits.images_per_minute],
    [cost.audioSeconds, limits.audio_seconds_per_minute],
  ] as const
  return pairs.every(([needed, perMinute]) => perMinute === undefined || needed <= perMinute / windows)
}
