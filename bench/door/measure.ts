import { Agent } from 'undici'
import { chatBody } from '../bodies.ts'
import { quantile } from '../statistics.ts'
import type { DoorOptions } from './options.ts'
import type { Cell, Measured, Way } from './result.ts'
import type { System, Target } from './stage.ts'

/** Different bodies that hits of the cache repeat. */
const REPEATED = 50

/** Measures every system in each way, one after the other. */
export async function measureRound(
  systems: readonly System[],
  options: DoorOptions,
  say: (line: string) => void,
): Promise<Measured[]> {
  const ways: Way[] = [
    { concurrency: 1, isStream: false },
    { concurrency: options.concurrency, isStream: false },
    { concurrency: 1, isStream: true },
    { concurrency: options.concurrency, isStream: true },
  ]
  const measured: Measured[] = []
  for (const way of ways) {
    for (const system of systems) {
      const cell = await measureCell(system, way, options.cellMs)
      measured.push({ system: system.name, ...way, ...cell })
      const { concurrency, isStream } = way
      say(
        `  ${system.title}${isStream ? ', streams' : ''}, ${concurrency} at once: ` +
          `p50 ${cell.p50Ms.toFixed(2)} ms, ${Math.round(cell.perSecond)}/s`,
      )
    }
  }
  return measured
}

/** Calls a system from several clients, each of which sends its next call after the answer to its last. */
async function measureCell(system: System, way: Way, forMs: number): Promise<Cell> {
  const target = system.target(way.isStream)
  const agent = new Agent({ connections: way.concurrency, keepAliveTimeout: 60_000 })
  const times: number[] = []
  try {
    if (target.isRepeated) {
      for (let number = 0; number < REPEATED; number++) await send(agent, target, number, way.isStream)
    } else await send(agent, target, nextNumber(), way.isStream)
    const cpuBefore = await system.cpuMs()
    const since = performance.now()
    await Promise.all(
      Array.from({ length: way.concurrency }, async () => {
        while (performance.now() - since < forMs) {
          const number = target.isRepeated ? times.length % REPEATED : nextNumber()
          times.push(await send(agent, target, number, way.isStream))
        }
      }),
    )
    const seconds = (performance.now() - since) / 1000
    return {
      calls: times.length,
      p50Ms: quantile(times, 0.5),
      p99Ms: quantile(times, 0.99),
      perSecond: times.length / seconds,
      cpuMs: Object.fromEntries(
        Object.entries(await system.cpuMs()).map(([part, after]) => [
          part,
          (after - cpuBefore[part]!) / times.length,
        ]),
      ),
    }
  } finally {
    await agent.close()
  }
}

/** Makes one call; answers the ms until the answer, or until the first chunk of a stream. */
async function send(agent: Agent, target: Target, number: number, isStream: boolean): Promise<number> {
  const since = performance.now()
  const { origin, pathname } = new URL(target.url)
  const { statusCode, headers, body } = await agent.request({
    origin,
    path: `${pathname}${target.api === 'anthropic' ? '/messages' : '/chat/completions'}`,
    method: 'POST',
    headers: { 'content-type': 'application/json', ...target.headers },
    body: JSON.stringify({ ...bodyOf(target, number), ...(isStream ? { stream: true } : {}) }),
  })
  let first: number | null = null
  let text = ''
  for await (const piece of body) {
    first ??= performance.now()
    text += piece
  }
  const end = target.api === 'anthropic' ? 'data: {"type":"message_stop"}\n\n' : 'data: [DONE]\n\n'
  const isWhole = text.endsWith(isStream ? end : '}')
  if (statusCode !== 200 || !isWhole) throw new Error(`${target.url} answered ${statusCode}: ${text}`)
  const cache = headers['x-cache']
  if (cache === 'hit' && !target.isRepeated)
    throw new Error('a call that should be made was answered from the cache')
  return (isStream ? first! : performance.now()) - since
}

function bodyOf({ api, model }: Target, number: number): object {
  const chat = chatBody(model, number)
  if (api === 'openai') return chat
  const [system, ...messages] = chat.messages
  return { model, max_tokens: 1000, system: system!.content, messages }
}

/** Each call has another number, and so another body. */
const nextNumber = createCounter()

function createCounter(): () => number {
  let last = REPEATED
  return () => ++last
}
