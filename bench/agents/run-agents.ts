import { setTimeout as sleep } from 'node:timers/promises'
import { Agent, request } from 'undici'
import type { Scenario } from './scenarios.ts'

/** The outcome of the agents of one scenario. */
export type AgentsResult = {
  agents: number
  /** Agents that met an error before the end of their last turn. */
  died: number
  calls: number
  /** Tokens that were billed to agents that died later. */
  wastedTokens: number
  /** From the first call to the end of the last agent. */
  seconds: number
  /** The errors that ended agents, with their numbers. */
  errors: Record<string, number>
}

/** Between two turns, ms. */
const THINK_MS = 50
/** The longest that an agent waits for an answer, ms; in scaled time no less than the second. */
const PATIENCE_MS = 120_000
const LEAST_PATIENCE_MS = 30_000
const MESSAGE_LENGTH = 200

type AgentEnd = { error: string | null; calls: number; tokens: number }

/** Lets all agents of a scenario work at once. None repeats a call: each ends at the first error that it sees. */
export async function runAgents(
  { agents, turns }: Scenario,
  { url, model, scale }: { url: string; model: string; scale: number },
): Promise<AgentsResult> {
  const patience = Math.max(LEAST_PATIENCE_MS, PATIENCE_MS / scale)
  const dispatcher = new Agent({ headersTimeout: patience, bodyTimeout: patience })
  const since = performance.now()
  try {
    const ends = await Promise.all(
      Array.from({ length: agents }, (_, agent) => work(`agent ${agent}`, turns)),
    )
    const dead = ends.filter(({ error }) => error !== null)
    const errors: Record<string, number> = {}
    for (const { error } of dead) errors[error!] = (errors[error!] ?? 0) + 1
    return {
      agents,
      died: dead.length,
      calls: ends.reduce((sum, { calls }) => sum + calls, 0),
      wastedTokens: dead.reduce((sum, { tokens }) => sum + tokens, 0),
      seconds: (performance.now() - since) / 1000,
      errors,
    }
  } finally {
    await dispatcher.close()
  }

  async function work(name: string, count: number): Promise<AgentEnd> {
    let tokens = 0
    for (let turn = 0; turn < count; turn++) {
      const answer = await call(`${name}, turn ${turn}: `.padEnd(MESSAGE_LENGTH, 'a task in detail '))
      if ('error' in answer) return { error: answer.error, calls: turn + 1, tokens }
      tokens += answer.tokens
      if (turn < count - 1) await sleep(THINK_MS / scale)
    }
    return { error: null, calls: count, tokens }
  }

  async function call(content: string): Promise<{ tokens: number } | { error: string }> {
    try {
      const answer = await request(`${url}/chat/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: 'Bearer any' },
        body: JSON.stringify({ model, max_tokens: 1024, messages: [{ role: 'user', content }] }),
        dispatcher,
      })
      const text = await answer.body.text()
      if (answer.statusCode !== 200) return { error: String(answer.statusCode) }
      const { usage } = JSON.parse(text) as { usage: { total_tokens: number } }
      return { tokens: usage.total_tokens }
    } catch (error) {
      return { error: (error as NodeJS.ErrnoException).code ?? String(error) }
    }
  }
}
