import { readFileSync } from 'node:fs'
import type { RedisClient } from '../lib/redis.ts'
import { beginOfStep, type Fairness, flowOf, type Tagged } from './fairness.ts'
import type { LaneWaitingFor } from './gate.ts'

/** The decay of the measured rate, ms, as in `lua/serve.lua`. */
const RATE_MS = 10_000
/** A rate measured over a shorter time is unreliable, ms. */
const MEASURED_MS = 1500

type Commands = Record<string, (...args: (string | number)[]) => Promise<string[]>>

export function createFairness({ redis, prefix }: { redis: RedisClient; prefix: string }): Fairness {
  const read = (name: string) => readFileSync(new URL(`./lua/${name}.lua`, import.meta.url), 'utf8')
  redis.defineCommand('sluiceGate:tag', { lua: read('tag') })
  redis.defineCommand('sluiceGate:serve', { lua: read('serve'), numberOfKeys: 2 })
  redis.defineCommand('sluiceGate:place', { lua: read('place'), numberOfKeys: 1 })
  redis.defineCommand('sluiceGate:untag', { lua: read('untag'), numberOfKeys: 1 })
  const commands = redis as unknown as Commands
  const key = (lane: string) => `${prefix}:{l:${lane}}:fair`
  return {
    async tag(lane, entries, held) {
      const keys = [key(lane), ...held.sets, ...held.lists]
      const args = encodeTags(held.sets.length, entries)
      const tags = await commands['sluiceGate:tag']!(keys.length, ...keys, ...args)
      return entries.map((_, index) => {
        const [start, turn] = tags.slice(2 * index, 2 * index + 2)
        return { start: Number(start), turn: turn === '' ? null : Number(turn) }
      })
    },
    async serve(lane, { start, seconds, waiting, isResumed }) {
      await commands['sluiceGate:serve']!(key(lane), waiting, beginOfStep(start), seconds, isResumed ? 1 : 0)
    },
    async holds(lane, starts) {
      const v = Number((await redis.hget(key(lane), 'v')) ?? 0)
      return starts.map((start) => beginOfStep(start) <= v)
    },
    async untag(lane, entries) {
      const args = entries.flatMap(({ tenant, flow, share }) => [tenant, flow, share])
      await commands['sluiceGate:untag']!(key(lane), ...args)
    },
    async note(lane, waitingFor) {
      await redis.hset(key(lane), 'waiting_for', waitingFor ?? '')
    },
    async mix(lane, seconds, shares) {
      await Promise.all([
        redis.hincrbyfloat(key(lane), 'sum:all', seconds),
        redis.hincrbyfloat(key(lane), 'sum:requests', shares.requests),
        redis.hincrbyfloat(key(lane), 'sum:tokens', shares.tokens),
      ])
    },
    async place(lane, { tenant, band, fairKey }) {
      const answer = await commands['sluiceGate:place']!(key(lane), tenant, band, fairKey ?? '')
      const [ahead, of] = answer.map(Number)
      return { ahead: ahead!, of: of! }
    },
    async read(lane) {
      const { v, rate, at, since, last, waiting_for, ...rest } = await redis.hgetall(key(lane))
      const ends = new Map<string, number>()
      for (const [field, end] of Object.entries(rest)) {
        if (field.startsWith('f:')) ends.set(field.slice(2), Number(end))
      }
      const measuredMs = Number(at ?? 0) - Number(since ?? 0)
      return {
        v: Number(v ?? 0),
        ends,
        rate: toRate(Number(rate), Number(last ?? 0), measuredMs),
        overlap: toOverlap(Number(rest['sum:all']), Number(rest['sum:requests']), Number(rest['sum:tokens'])),
        waitingFor: (waiting_for || null) as LaneWaitingFor | null,
      }
    },
  }
}

/** The arguments of `lua/tag.lua`: how many of its keys are sorted sets, then four for each entry. */
function encodeTags(sets: number, entries: readonly Tagged[]): (string | number)[] {
  const args: (string | number)[] = [sets]
  for (const entry of entries)
    args.push(entry.tenant, flowOf(entry), entry.seconds / entry.weight, entry.fairKey ?? '')
  return args
}

/**
 * Right after entries were served, the rate is above its mean by half of `last`. If `last` is most of the rate, too few entries were
 * served to know it. A young average covers only a part of its time, so it is scaled up to the whole.
 */
function toRate(rate: number, last: number, measuredMs: number): number | null {
  const mean = rate - last / 2
  if (measuredMs < MEASURED_MS || last > mean / 2) return null
  return mean / (1 - Math.exp(-measuredMs / RATE_MS))
}

function toOverlap(all: number, requests: number, tokens: number): number {
  const together = Math.max(requests, tokens)
  return all > 0 && together > 0 ? Math.min(1, together / all) : 1
}
