import { hash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { JsonValue } from '../lib/json.ts'
import { keepSource, stringifyJson } from '../lib/json-source.ts'
import type { RedisClient } from '../lib/redis.ts'
import { isSealed, type Sealer } from '../lib/sealer.ts'
import { runChannel, runDigest, runKey, signalPlace } from './keys.ts'
import { listDurableRuns } from './list.ts'
import {
  type DurableRun,
  type DurableRuns,
  isOver,
  MOST_STEPS,
  type Step,
  type StepKind,
  type StepRequest,
} from './runs.ts'
import type { DurableScripts, StoredStep } from './scripts.ts'

/** The longest time that a timer accepts, ms. */
const LONGEST_TIMER_MS = 2 ** 31 - 1

/**
 * @param deps.root returns the root of a tenant's keys
 * @param deps.listen subscribes to a channel; resolves to a function that ends the subscription
 * @param deps.now Unix ms, by Redis' clock
 */
export function createDurableRuns(deps: {
  redis: RedisClient
  scripts: DurableScripts
  root: (tenant: string) => string
  sealer: Sealer
  listen: (channel: string, listener: () => void) => Promise<() => void>
  retainMs: () => number
  now: () => number
}): DurableRuns {
  const { redis, scripts, root, sealer } = deps
  const placeOf = (tenant: string, id: string, name: string) => ({
    root: root(tenant),
    run: runDigest(id),
    retainMs: deps.retainMs(),
    name,
  })
  const sealedPlace = (tenant: string, id: string, name: string) => signalPlace(root(tenant), id, name)

  function openValue(tenant: string, id: string, name: string, stored: Buffer): JsonValue {
    const bytes = isSealed(stored) ? sealer.open(sealedPlace(tenant, id, name), stored) : stored
    const text = bytes.toString('utf8')
    const value = JSON.parse(text) as JsonValue
    return typeof value === 'object' && value !== null ? keepSource(value, text) : value
  }

  function toStep(tenant: string, id: string, name: string, stored: StoredStep): Step | null {
    if (stored.step === '') return null
    const sentAt = Number(stored.signal.split(' ')[0])
    return {
      ...readStep(stored.step, stored.now),
      signal: stored.signal === '' ? null : { sentAt, value: openValue(tenant, id, name, stored.value) },
    }
  }

  const find: DurableRuns['find'] = async (tenant, id, name) => {
    const stored = await scripts.read(placeOf(tenant, id, name))
    return stored && toStep(tenant, id, name, stored)
  }

  return {
    find,

    async begin(tenant, id, name, request) {
      const answer = await scripts.begin({
        ...placeOf(tenant, id, name),
        id,
        ...describe(request),
        mostSteps: MOST_STEPS,
      })
      if (!('stored' in answer)) return answer
      return { kind: answer.kind, step: toStep(tenant, id, name, answer.stored)! }
    },

    release: (tenant, id, name) => scripts.release(placeOf(tenant, id, name)),

    async wait(tenant, id, name, timeoutMs, signal) {
      const over = AbortSignal.any([AbortSignal.timeout(Math.ceil(timeoutMs)), signal])
      let wake = () => {}
      const leave = await deps.listen(runChannel(root(tenant), id), () => wake())
      try {
        for (;;) {
          const woken = new Promise<void>((resolve) => {
            wake = resolve
          })
          const step = await find(tenant, id, name)
          if (step === null || isOver(step) || over.aborted) return step
          const leftMs = step.until === null ? LONGEST_TIMER_MS : step.until - step.readAt
          const timing = new AbortController()
          const timer = sleep(Math.min(leftMs + 1, LONGEST_TIMER_MS), undefined, {
            signal: AbortSignal.any([over, timing.signal]),
          }).catch(() => {})
          await Promise.race([woken, timer])
          timing.abort()
        }
      } finally {
        leave()
      }
    },

    async signal(tenant, id, name, value, sender) {
      const plain = Buffer.from(stringifyJson(value))
      return await scripts.signal({
        ...placeOf(tenant, id, name),
        sender: sender === null ? null : hash('sha256', sender, 'hex').slice(0, 32),
        value: sealer.seal(sealedPlace(tenant, id, name), plain) ?? plain,
        mostSteps: MOST_STEPS,
      })
    },

    async get(tenant, id) {
      const fields = await redis.hgetall(runKey(root(tenant), id))
      return fields.id === undefined ? null : toRun(fields, deps.now())
    },

    list: (tenant, limit, after) => listDurableRuns(redis, root(tenant), limit, after),

    remove: (tenant, id) => scripts.remove(placeOf(tenant, id, '')),

    digests: (plain) => sealer.digests(plain),
  }
}

function describe(request: StepRequest) {
  const { kind } = request
  if (kind === 'job') return { kind, fingerprints: request.fingerprints, jobId: request.jobId, ms: null }
  const ms = kind === 'sleep' ? request.ms : request.timeoutMs
  return { kind, fingerprints: [`ms:${ms ?? ''}`], jobId: null, ms }
}

function readStep(stored: string, readAt: number): Omit<Step, 'signal'> {
  const [kind, beganAt, until, fingerprint, job] = stored.split(' ')
  return {
    kind: kind as StepKind,
    beganAt: Number(beganAt),
    until: until === '-' ? null : Number(until),
    fingerprint: fingerprint!,
    jobId: job === '-' ? null : job!,
    readAt,
  }
}

/** Parses a run's hash. The steps are in the order in which they began. */
function toRun(fields: Record<string, string>, now: number): DurableRun {
  const steps = Object.entries(fields).flatMap(([field, stored]) => {
    if (!field.startsWith('s:')) return []
    const name = field.slice(2)
    const sent = fields[`v:${name}`]
    return [
      {
        name,
        ...readStep(stored, now),
        signal: sent === undefined ? null : { sentAt: Number(sent.split(' ')[0]) },
      },
    ]
  })
  return {
    id: fields.id!,
    createdAt: Number(fields.created_at),
    steps: steps.sort((one, other) => one.beganAt - other.beganAt),
  }
}
