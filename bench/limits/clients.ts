import Bottleneck from 'bottleneck'
import { OpenAI } from 'openai'
import PQueue from 'p-queue'
import { type Call, chatBody, grantOf, LIMITS } from './workload.ts'

/** How many of the calls got an answer in the end; the others ended with an error. */
export type Outcome = { answered: number; failed: number }

/** Sends all calls to one model of an upstream and resolves when each has ended. */
export type Client = (upstreamUrl: string, model: string, calls: readonly Call[]) => Promise<Outcome>

/** Calls at once, for a client without a limiter. */
const AT_ONCE = 50

/** What a client sends in a second: all that the limits allow, spread as evenly as it can be told. */
const SECOND = grantOf(LIMITS, 1)

/** The openai package as it comes: two retries, after the time that a 429 names. */
export const runOpenAi: Client = async (url, model, calls) => {
  const send = createSender(url, model)
  const outcomes: boolean[] = []
  const left = calls.values()
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (const call of left) outcomes.push(await send(call))
    }),
  )
  return count(outcomes)
}

/** p-queue in front of it, with a sliding window over requests. It does not know tokens. */
export const runPQueue: Client = async (url, model, calls) => {
  const send = createSender(url, model)
  const queue = new PQueue({ intervalCap: SECOND.requests, interval: 1000, strict: true })
  return count(await Promise.all(calls.map((call) => queue.add(() => send(call)))))
}

/** Bottleneck in front of it, with a reservoir of requests and, within, one of tokens. */
export const runBottleneck: Client = async (url, model, calls) => {
  const send = createSender(url, model)
  const createLimiter = (amount: number) =>
    new Bottleneck({
      reservoir: amount,
      reservoirRefreshAmount: amount,
      reservoirRefreshInterval: 1000,
    })
  const requests = createLimiter(SECOND.requests)
  const tokens = createLimiter(SECOND.tokens)
  const outcomes = await Promise.all(
    calls.map((call) => requests.schedule(() => tokens.schedule({ weight: call.tokens }, () => send(call)))),
  )
  await Promise.all([requests.disconnect(), tokens.disconnect()])
  return count(outcomes)
}

/** Resolves with whether there was an answer, the package's own retries included. */
function createSender(url: string, model: string): (call: Call) => Promise<boolean> {
  const client = new OpenAI({ apiKey: 'none', baseURL: url })
  return async (call) => {
    try {
      await client.chat.completions.create(chatBody(model, call))
      return true
    } catch {
      return false
    }
  }
}

function count(outcomes: readonly boolean[]): Outcome {
  const answered = outcomes.filter((ok) => ok).length
  return { answered, failed: outcomes.length - answered }
}
