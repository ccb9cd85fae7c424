import type { Lane, LaneSource } from '../config/lanes.ts'
import type { Emit } from '../lib/emitter.ts'
import type { ProviderAnswer } from '../providers/provider.ts'
import { sourceOfPermit } from '../ratelimit/addresses.ts'

/** How long no call goes to a source that refused us, ms. */
const SHUT_MS = 600_000

/** Statuses by which a provider refuses our key, our money or our permissions. */
const REFUSALS = new Set([401, 402, 403])

/**
 * A source refused us, and is shut until then (Unix ms). Each process reports it once for each time that it is shut.
 */
export type SourceShut = { lane: string; source: string; reason: string; message: string; until: number }

/** Whether the provider refused us rather than the request. */
export function refusesSource(answer: ProviderAnswer): boolean {
  if (answer.ok || answer.class !== 'final' || answer.input) return false
  if (answer.cause === 'quota' || answer.cause === 'auth') return true
  return answer.status !== null && REFUSALS.has(answer.status)
}

/** Whether the lane can do without one of its sources. */
export function mayMove({ sources }: Lane): boolean {
  return sources !== undefined && sources.length > 1
}

/** What a refusal tells the gate; empty for any other answer. */
export function toShut(answer: ProviderAnswer): { shutMs?: number; shutReason?: string } {
  return !answer.ok && refusesSource(answer) ? { shutMs: SHUT_MS, shutReason: answer.code } : {}
}

/** The source that a permit of the lane names; null: the lane has none. */
export function findSource({ sources }: Lane, permit: string): LaneSource | null {
  if (sources === undefined) return null
  const name = sourceOfPermit(permit)
  // If the permit is from before the lane had sources, or its source was removed since, any source serves.
  return sources.find((one) => one.name === name) ?? sources[0] ?? null
}

/** Reports once in each process that a source is shut, no matter how many of its calls were refused. */
export function createSourceShuts(deps: { now: () => number; events: Emit<{ 'source.shut': SourceShut }> }) {
  const until = new Map<string, number>()
  return {
    note(lane: Lane, source: string, answer: ProviderAnswer): void {
      if (answer.ok) until.delete(source)
      if (answer.ok || !refusesSource(answer)) return
      const at = deps.now()
      if ((until.get(source) ?? 0) > at) return
      until.set(source, at + SHUT_MS)
      const { code, message } = answer
      deps.events.emit('source.shut', { lane: lane.id, source, reason: code, message, until: at + SHUT_MS })
    },
  }
}
