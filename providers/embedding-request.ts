import { keepOtherMembers } from '../lib/embedding-answer.ts'
import { asksForKnownForm, type EmbeddingInput, normalizeInputs } from '../lib/embedding-input.ts'
import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { withMembers } from '../lib/json-source.ts'
import { countInputTokens } from './count-tokens.ts'
import { splitByWeight } from './split-by-weight.ts'

/** The inputs that one job wants embedded. */
export type EmbeddingOrder = {
  body: JsonObject
  /** Within a group, equal inputs are sent once, also across orders. Null: every input is sent. */
  group: string | null
  /** For each input its cached answer, or null. Absent: nothing is cached. */
  known?: readonly (JsonObject | null)[]
}

/** Where the vectors of an order come from. */
export type EmbeddingPart = {
  /** For each input: its cached answer, or its position in the request. */
  sources: (JsonObject | number)[]
  /** Positions that this order asked for first, each with the index of its input. The order pays for these. */
  owned: { place: number; input: number }[]
  /** False: every input is cached. */
  needsCall: boolean
}

/** One provider request for several orders. */
export type EmbeddingRequest = {
  /** Null: no order needs a call. */
  body: JsonObject | null
  /** One part for each order, in the same order. */
  parts: EmbeddingPart[]
  /** Estimated tokens of the input at each position. */
  tokens: number[]
}

/** One order's part of an answer. */
export type EmbeddingShare = {
  /** In the shape of an answer to this order alone. Its usage is the order's share, where the provider reports usage. */
  result: JsonObject
  /** The estimated usage of the order and of each owned position, where the provider reports none. */
  unstated?: { usage: JsonObject; alone: JsonObject[] }
  /** The answer to the input at each owned position alone, in the order of `owned`. */
  alone: JsonObject[]
}

/**
 * Builds one request for orders with the same coalesce key. It holds every input that is neither cached nor already in the request. All
 * members other than `input` come from the first order. A single order sends its client's own `input` if nothing was left out. An order
 * without inputs needs a call, because only the provider can say what is wrong with it.
 */
export function composeRequest(orders: readonly EmbeddingOrder[]): EmbeddingRequest {
  const input: EmbeddingInput[] = []
  const places = new Map<string, Map<string, number>>()
  const parts = orders.map(({ body, group, known }): EmbeddingPart => {
    const asked = group === null ? null : (places.get(group) ?? new Map<string, number>())
    if (group !== null && asked !== null) places.set(group, asked)
    const inputs = normalizeInputs(body) ?? []
    const owned: EmbeddingPart['owned'] = []
    const sources = inputs.map((one, index) => {
      const kept = known?.[index]
      if (kept) return kept
      const key = typeof one === 'string' ? `text ${one}` : `tokens ${one}`
      const place = asked?.get(key) ?? input.length
      if (place < input.length) return place
      asked?.set(key, place)
      owned.push({ place, input: index })
      input.push(one)
      return place
    })
    const needsCall = inputs.length === 0 || sources.some((source) => typeof source === 'number')
    return { sources, owned, needsCall }
  })
  const first = orders[parts.findIndex((part) => part.needsCall)]
  const isAsItStands = orders.length === 1 && parts[0]!.sources.length === input.length
  return {
    body: first ? buildBody(first.body, isAsItStands ? null : input) : null,
    parts,
    tokens: input.map(countInputTokens),
  }
}

/** The client's text with the fewest changes. `input` null: the client's own. */
function buildBody(body: JsonObject, input: EmbeddingInput[] | null): JsonObject {
  const changes: JsonObject = {}
  if (input !== null) changes.input = input
  if (asksForKnownForm(body) && body.encoding_format !== 'base64') changes.encoding_format = 'base64'
  return Object.keys(changes).length > 0 ? withMembers(body, changes) : body
}

/**
 * Gives each order its part of the answer: vectors with indices from 0, and a share of the usage in proportion to its estimated tokens. The
 * shares add up to the provider's counts exactly. Null for orders that needed no call.
 *
 * @param answer an embeddings answer with a vector for each position of the request
 * @param billed input tokens to bill, where they differ from the stated ones
 */
export function splitAnswer(
  answer: JsonObject,
  request: EmbeddingRequest,
  billed?: number,
): (EmbeddingShare | null)[] {
  const kept = keepOtherMembers(answer)
  const envelope = withMembers(kept, { data: [] })
  const data = sortByIndex(Array.isArray(kept.data) ? kept.data : [])
  const { parts, tokens } = request
  const weights = parts.map(({ owned }) => owned.reduce((sum, { place }) => sum + tokens[place]!, 0))
  const isStated = isJsonObject(answer.usage)
  const stated = isJsonObject(answer.usage) ? answer.usage : {}
  const paid =
    billed === undefined ? answer.usage : { total_tokens: billed, ...stated, prompt_tokens: billed }
  const usages = splitUsage(paid, weights)
  return parts.map(({ sources, owned, needsCall }, part) => {
    if (!needsCall) return null
    const usage = usages?.[part]
    const own = splitUsage(
      usage,
      owned.map(({ place }) => tokens[place]!),
    )
    const entries = sources.map((source) =>
      typeof source === 'number' ? (data[source] ?? {}) : entryOf(source),
    )
    const show = (one: JsonObject | undefined) => (isStated ? one : undefined)
    // With a single order the usage is the provider's own report.
    const shown = parts.length === 1 && usage ? correct(kept.usage, usage) : usage
    const isWhole = parts.length === 1 && isAnswerOf(answer, entries, show(shown))
    return {
      result: isWhole ? answer : shape(envelope, entries, show(shown)),
      alone: owned.map(({ place }, index) => shape(envelope, [data[place] ?? {}], show(own?.[index]))),
      ...(usage && own && !isStated ? { unstated: { usage, alone: own } } : {}),
    }
  })
}

/** The answer to an order whose inputs are all cached. It costs nothing. */
export function joinKnown(known: readonly JsonObject[]): JsonObject {
  return shape(known[0] ?? {}, known.map(entryOf), { prompt_tokens: 0, total_tokens: 0 })
}

/** Whether a cached answer has exactly one vector. */
export function isSingleAnswer(answer: JsonObject): boolean {
  const [entry, ...others] = Array.isArray(answer.data) ? answer.data : []
  return others.length === 0 && isJsonObject(entry) && entry.embedding !== undefined
}

function entryOf(answer: JsonObject): JsonObject {
  return (answer.data as JsonObject[])[0]!
}

function shape(envelope: JsonObject, entries: JsonObject[], usage: JsonObject | undefined): JsonObject {
  const data = entries.map((entry, index) => (entry.index === index ? entry : withMembers(entry, { index })))
  return withMembers(envelope, usage ? { data, usage } : { data })
}

/** Whether the answer has exactly these vectors in this order, and this usage. */
function isAnswerOf(answer: JsonObject, entries: JsonObject[], usage: JsonObject | undefined): boolean {
  const data = answer.data as JsonValue[]
  const isOrdered = entries.every((entry, index) => entry === data[index] && entry.index === index)
  return isOrdered && entries.length === data.length && (usage === undefined || usage === answer.usage)
}

/** The stated usage with corrected counts. Its other members stay. */
function correct(stated: JsonValue | undefined, usage: JsonObject): JsonObject {
  if (!isJsonObject(stated)) return usage
  const changes = Object.entries(usage).filter(([name, count]) => stated[name] !== count)
  return changes.length > 0 ? withMembers(stated, Object.fromEntries(changes)) : stated
}

function splitUsage(usage: JsonValue | undefined, weights: readonly number[]): JsonObject[] | null {
  if (!isJsonObject(usage)) return null
  const promptTokens = splitByWeight(readCount(usage.prompt_tokens), weights)
  const totalTokens =
    usage.total_tokens === usage.prompt_tokens
      ? promptTokens
      : splitByWeight(readCount(usage.total_tokens), weights)
  return weights.map((_, part) => ({ prompt_tokens: promptTokens[part]!, total_tokens: totalTokens[part]! }))
}

function readCount(value: JsonValue | undefined): number {
  return typeof value === 'number' && value > 0 ? Math.floor(value) : 0
}

function sortByIndex(data: JsonValue[]): JsonObject[] {
  const entries = data.filter(isJsonObject)
  const sorted = entries.every((entry, position) => entry.index === position)
  return sorted ? entries : entries.sort((left, right) => Number(left.index) - Number(right.index))
}
