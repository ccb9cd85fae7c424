/** Why a running call is aborted. */
export type AbortReason = 'cancelled' | 'shutdown'

type RunningCall = { controller: AbortController; jobs: Set<string> }

/**
 * The calls under way in this process. So a cancel can abort a job's call in any worker. A request of several jobs is
 * aborted when the last of them is cancelled.
 */
export type RunningCalls = {
  begin(jobs: { tenant: string; id: string }[]): { signal: AbortSignal; end(): void }
  cancel(tenant: string, id: string): void
  abortAll(): void
  readonly size: number
}

export function createRunningCalls(): RunningCalls {
  const byJob = new Map<string, RunningCall>()
  const calls = new Set<RunningCall>()
  const keyOf = (tenant: string, id: string) => `${tenant} ${id}`
  return {
    begin(jobs) {
      const call = {
        controller: new AbortController(),
        jobs: new Set(jobs.map((job) => keyOf(job.tenant, job.id))),
      }
      calls.add(call)
      for (const key of call.jobs) byJob.set(key, call)
      const keys = [...call.jobs]
      return {
        signal: call.controller.signal,
        end() {
          calls.delete(call)
          for (const key of keys) if (byJob.get(key) === call) byJob.delete(key)
        },
      }
    },
    cancel(tenant, id) {
      const key = keyOf(tenant, id)
      const call = byJob.get(key)
      if (!call) return
      call.jobs.delete(key)
      if (call.jobs.size === 0) call.controller.abort('cancelled' satisfies AbortReason)
    },
    abortAll() {
      for (const call of calls) call.controller.abort('shutdown' satisfies AbortReason)
    },
    get size() {
      return calls.size
    },
  }
}
