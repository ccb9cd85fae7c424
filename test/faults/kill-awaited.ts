import { setTimeout as sleep } from 'node:timers/promises'
import { hashPrompt } from '../../simulator/answers.ts'
import { createRandom } from '../../simulator/random.ts'
import { getAttempts, getJob, mapGently } from './client.ts'
import type { Fault, Outcome, Settings } from './fault.ts'
import { openStage, type Stage } from './stage.ts'
import { strike, type Victim, victims } from './strike.ts'
import { type Evidence, tallyUp } from './tally.ts'
import { until } from './wait.ts'

const PER_SECOND = 15
/** How long a client repeats its request, with one idempotency key, until it has its answer. */
const PATIENCE_MS = 120_000
/** Longer than a worker's death may delay a call. */
const ANSWER_MS = 60_000
const PAUSE_MS = 200

/** A call of a client that waits for its answer, as the client sees it. */
type Call = {
  key: string
  prompt: string
  streams: boolean
  ids: Set<string>
  answer: string | null
  status: number
}

/**
 * Clients keep their connections open while workers, APIs and Redis are killed. Most of their jobs are started by the
 * script that creates them (jobs/lua/start-here.lua). A client whose connection breaks asks again with its key.
 */
export const killAwaited: Fault = {
  name: 'awaited-kill',
  title: 'kill -9 of workers, APIs and Redis under clients that wait for their answers',
  async run(settings: Settings): Promise<Outcome> {
    const { seed, say, kills } = settings
    const random = createRandom(seed)
    const stage = await openStage({
      apis: 2,
      workers: 2,
      simulator: ['--latency', '250', '--jitter', '250', '--seed', String(seed)],
      stalledAfterMs: settings.stalledAfterMs,
    })
    settings.opened(stage)
    const calls: Call[] = []
    const asking = new Set<Promise<void>>()
    const timer = setInterval(() => {
      const at = calls.length
      const call: Call = {
        ...{ key: `awaited-${at}`, prompt: `awaited ${at}`, streams: at % 3 === 0 },
        ...{ ids: new Set<string>(), answer: null, status: 0 },
      }
      calls.push(call)
      const one = ask(stage, call, random).finally(() => asking.delete(one))
      asking.add(one)
    }, 1000 / PER_SECOND)
    const struck: Record<Victim, number> = { worker: 0, api: 0, redis: 0 }
    for (let kill = 1; kill <= kills; kill++) {
      await sleep(1500 + 1500 * random())
      await until(async () => ((await stage.simulator.state()).in_flight > 0 ? true : null), 30_000, 'a call')
      const victim = victims[(kill - 1) % victims.length]!
      await strike(stage, victim, random)
      struck[victim]++
      if (kill % 5 === 0) say(`${kill} of ${kills} killed`)
    }
    clearInterval(timer)
    await Promise.all(asking)

    const broken = calls.flatMap(({ key, ids, status }) => [
      ...(ids.size > 1 ? [`${key} made ${ids.size} jobs`] : []),
      ...(status === 200 ? [] : [`${key} was answered with ${status}`]),
    ])
    const url = stage.urls()[0]!
    const known = calls.filter(({ ids }) => ids.size > 0)
    const evidence = await mapGently(known, async ({ ids, prompt }): Promise<Evidence> => {
      const id = [...ids][0]!
      return { id, hash: hashOf(prompt), job: await getJob(url, id), attempts: await getAttempts(url, id) }
    })
    const tally = tallyUp(evidence, await stage.simulator.calls())
    const wrong = calls.filter(
      ({ answer, prompt }) => answer?.includes(`Answer ${hashOf(prompt).slice(0, 8)}`) === false,
    )
    if (wrong.length > 0) broken.push(`${wrong.length} clients have the answer to another prompt`)
    if (tally.mistaken.length > 0)
      broken.push(`${tally.mistaken.length} jobs have the answer to another prompt`)
    return {
      tally,
      recoveriesMs: [],
      broken,
      notes: [
        `${calls.length} clients, ${struck.worker} workers, ${struck.api} APIs and ${struck.redis} × Redis killed`,
      ],
    }
  },
}

const messagesOf = (prompt: string) => [{ role: 'user', content: prompt }]
const hashOf = (prompt: string) => hashPrompt('chat', 'chat', { messages: messagesOf(prompt) })

/** Asks at any running API until the answer is complete. */
async function ask(stage: Stage, call: Call, random: () => number): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS
  const body = {
    model: 'sim/chat',
    messages: messagesOf(call.prompt),
    ...(call.streams ? { stream: true } : {}),
  }
  while (performance.now() < deadline) {
    const alive = stage.urls()
    const url = alive[Math.floor(random() * alive.length)]
    if (url !== undefined && (await askOnce(url, call, body))) return
    await sleep(PAUSE_MS * (0.5 + random()))
  }
}

/** True: it is answered, or never will be. */
async function askOnce(url: string, call: Call, body: object): Promise<boolean> {
  try {
    const response = await fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'idempotency-key': call.key,
        'cache-control': 'no-store',
      },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(ANSWER_MS),
    })
    const id = response.headers.get('x-job-id')
    if (id !== null) call.ids.add(id)
    const text = await response.text()
    call.status = response.status
    if (!response.ok) return response.headers.get('x-should-retry') === 'false'
    if (call.streams) return text.trimEnd().endsWith('data: [DONE]') && !text.includes('"error"')
    call.answer = text
    return true
  } catch {
    // Refused, reset or cut off: the client asks again.
    return false
  }
}
