import { defineScripts, type ScriptArgument } from '../lib/define-scripts.ts'
import type { RedisClient } from '../lib/redis.ts'
import { scriptKeys } from '../lib/script-keys.ts'

/** The arguments of every script: the tenant's root, the digest of the run's id, how long runs are kept, and the step's name. */
type StepPlace = { root: string; run: string; retainMs: number; name: string }

/** Redis' time, a step, its signal, and the signal's value. A missing part is empty. */
export type StoredStep = { now: number; step: string; signal: string; value: Buffer }

type BeginArguments = StepPlace & {
  id: string
  kind: string
  /** The first one is stored. */
  fingerprints: readonly string[]
  jobId: string | null
  ms: number | null
  mostSteps: number
}

type SignalArguments = StepPlace & { sender: string | null; value: Buffer; mostSteps: number }

/** The scripts of `durable/lua`, as functions. Each may be sent twice. */
export type DurableScripts = {
  read(place: StepPlace): Promise<StoredStep | null>
  begin(
    begun: BeginArguments,
  ): Promise<{ kind: 'begun' | 'known'; stored: StoredStep } | { kind: 'changed' | 'full' }>
  /** `at`: when the signal was sent; for `late`, when the wait ended; Unix ms. */
  signal(
    sent: SignalArguments,
  ): Promise<{ kind: 'none' | 'other' | 'full' | 'late' | 'taken' | 'sent'; at: number }>
  release(place: StepPlace): Promise<void>
  /** Deletes a run. Resolves to whether there was one. */
  remove(place: Omit<StepPlace, 'name'>): Promise<boolean>
}

const NAMES = ['read', 'begin', 'release', 'signal', 'remove'] as const

/** Registers the scripts with a connection. */
export function createDurableScripts(redis: RedisClient): DurableScripts {
  const call = defineScripts(redis, new URL('./lua/', import.meta.url), 'sluiceDurable', NAMES, {
    answers: 'buffers',
  })
  const send = (
    script: (typeof NAMES)[number],
    { root, run, retainMs, name }: StepPlace,
    ...args: ScriptArgument[]
  ) => call(script, scriptKeys(root), [run, retainMs, name, ...args])

  return {
    async read(place) {
      const answer = (await send('read', place)) as Buffer[]
      return answer.length === 0 ? null : toStoredStep(answer)
    },
    async begin({ id, kind, fingerprints, jobId, ms, mostSteps, ...place }) {
      const args = [id, kind, fingerprints.join(' '), jobId ?? '-', ms ?? '', mostSteps]
      const [word, ...rest] = (await send('begin', place, ...args)) as Buffer[]
      const answered = word!.toString() as 'begun' | 'known' | 'changed' | 'full'
      if (answered === 'changed' || answered === 'full') return { kind: answered }
      return { kind: answered, stored: toStoredStep(rest) }
    },
    async signal({ sender, value, mostSteps, ...place }) {
      const [word, at] = (await send('signal', place, sender ?? '-', value, mostSteps)) as Buffer[]
      return { kind: word!.toString() as 'sent', at: Number(at?.toString() ?? 0) }
    },
    async release(place) {
      await send('release', place)
    },
    remove: async (place) => (await send('remove', { ...place, name: '' })) === 1,
  }
}

function toStoredStep([now, step, signal, value]: Buffer[]): StoredStep {
  return { now: Number(now!.toString()), step: step!.toString(), signal: signal!.toString(), value: value! }
}
