import { UnreadableError } from '../lib/sealer.ts'
import { hashInputs } from './embedding-cache.ts'
import { JobStatus } from './job.ts'
import type { Jobs } from './jobs.ts'
import type { Keyspace } from './keyspace.ts'
import type { Outbox } from './outbox.ts'
import type { Queues } from './queue.ts'

/** Ends jobs from outside: cancels a job, or deletes it with everything that belongs to it. */
export function createRemoval(deps: {
  keyspace: Pick<Keyspace, 'redis' | 'scripts' | 'rootOf' | 'atRest' | 'retainMs'>
  queues: Queues
  outbox: Outbox
  /** Tells the worker that makes the job's call to end it. */
  abort: (tenant: string, id: string) => Promise<unknown>
  read: Jobs['get']
  sweepFiles: (tenant: string) => Promise<unknown>
  onError: (error: unknown, what: string) => void
}): Pick<Jobs, 'cancel' | 'remove'> {
  const { queues, outbox, read } = deps
  const { redis, scripts, rootOf, atRest, retainMs } = deps.keyspace

  /** After a cancel or a removal: removes the entry, aborts the call, queues the promoted job. */
  async function release(
    tenant: string,
    id: string,
    lane: string,
    entry: number,
    answer: Buffer[],
  ): Promise<void> {
    const [, was, abort, promoted] = answer
    if (abort?.toString() === '1') await deps.abort(tenant, id)
    await outbox.dispatchById(tenant, promoted?.toString() ?? '')
    // The entry of a running job stays until its call ends. If the worker dies, the entry leads to the job, and to the
    // followers of its call.
    if (was?.toString() === JobStatus.running) return
    // A worker would skip an ended job anyway. Without the entry, its lane saves that step.
    queues.remove(lane, id, entry).catch((error) => deps.onError(error, 'removing a queue entry'))
  }

  async function laneAndEntry(tenant: string, id: string): Promise<[string, number]> {
    const [lane, entry] = await redis.hmget(`${rootOf(tenant)}:job:${id}`, 'lane', 'entries')
    return [lane ?? '', Number(entry ?? 0)]
  }

  /** The digests at which the answers to the single inputs of an embedding job are cached. */
  async function inputsOf(tenant: string, id: string, lane: string): Promise<string[]> {
    const key = `${rootOf(tenant)}:job:${id}`
    if ((await redis.hget(key, 'type')) !== 'embedding') return []
    const body = await redis.hgetBuffer(key, 'body')
    if (body === null) return []
    try {
      const hashes = hashInputs(lane, atRest.openBody(rootOf(tenant), id, body)) ?? []
      return hashes.flatMap((hash) => atRest.digests(hash))
    } catch (error) {
      // A process that cannot read the request cannot read the answers either.
      if (error instanceof UnreadableError) return []
      throw error
    }
  }

  return {
    async cancel(tenant, id) {
      const [lane, entry] = await laneAndEntry(tenant, id)
      const answer = (await scripts.run('cancel', rootOf(tenant), [id, retainMs()])) as Buffer[]
      const kind = answer[0]!.toString()
      if (kind === 'none') return null
      if (kind === 'cancelled') await release(tenant, id, lane, entry, answer)
      const job = await read(tenant, id)
      return job && { kind: kind as 'cancelled' | 'terminal', job }
    },

    async remove(tenant, id) {
      const [lane, entry] = await laneAndEntry(tenant, id)
      const inputs = await inputsOf(tenant, id, lane)
      const answer = (await scripts.run('remove', rootOf(tenant), [id, ...inputs])) as Buffer[]
      if (answer[0]!.toString() === 'none') return false
      await release(tenant, id, lane, entry, answer)
      // A deleted job must be gone at once. If this fails, the maintainer does it within a minute.
      if (answer[4]!.toString() === '1') {
        await deps.sweepFiles(tenant).catch((error) => deps.onError(error, 'removing the files of a job'))
      }
      return true
    },
  }
}
