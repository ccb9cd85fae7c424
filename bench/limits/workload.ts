import { createRandom } from '../../simulator/random.ts'

/** The limits that the upstream enforces and that all clients are configured for. */
export const LIMITS = { requests_per_minute: 1800, tokens_per_minute: 180_000 } as const
export type Limits = { requests_per_minute: number; tokens_per_minute: number }

/** An answer takes 150 to 450 ms. */
export const LATENCY = { least: 150, jitter: 300, mean: 300 } as const

/** Requests and tokens, of one call or of many. */
export type Amount = { requests: number; tokens: number }

/** One call: what it takes of the token limit, and a prompt like no other. */
export type Call = { tokens: number; prompt: string }

/**
 * Twenty calls that take 104 tokens each on average, while 100 would use both limits equally: nearly as many requests
 * as allowed, and all of the tokens. A large call is worth a quarter of a second of the lane.
 */
const BLOCK = [...Array<number>(15).fill(40), ...Array<number>(4).fill(150), 880]

/** `count` calls in blocks of twenty, each block in an order of its own; the same name gives the same calls. */
export function makeCalls(name: string, count: number): Call[] {
  const random = createRandom(count)
  const sizes: number[] = []
  while (sizes.length < count) sizes.push(...shuffle(BLOCK, random))
  return sizes.slice(0, count).map((tokens, index) => ({
    tokens,
    prompt: `${name} ${index}: sort this message into billing, delivery or other, in one word.`,
  }))
}

/** The body of a call. Its cap is what the upstream counts for it: the prompt is shorter. */
export function chatBody(model: string, { prompt, tokens }: Call) {
  return {
    model,
    max_completion_tokens: tokens,
    messages: [{ role: 'user' as const, content: prompt }],
  }
}

export function sumOf(calls: readonly Call[]): Amount {
  return { requests: calls.length, tokens: calls.reduce((sum, call) => sum + call.tokens, 0) }
}

/** What `limits` grant in so many seconds. */
export function grantOf(limits: Limits, seconds: number): Amount {
  return {
    requests: (limits.requests_per_minute / 60) * seconds,
    tokens: (limits.tokens_per_minute / 60) * seconds,
  }
}

/** How many seconds' worth of a limit an amount is, by the limit that it uses more of. */
export function secondsOf(amount: Amount, limits: Limits): number {
  const second = grantOf(limits, 1)
  return Math.max(amount.requests / second.requests, amount.tokens / second.tokens)
}

function shuffle(values: readonly number[], random: () => number): number[] {
  const mixed = [...values]
  for (let last = mixed.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1))
    ;[mixed[last], mixed[other]] = [mixed[other]!, mixed[last]!]
  }
  return mixed
}
