import type { StartPlan } from './direct-plan.ts'
import type { DueTimers } from './due-timers.ts'
import type { NewJob } from './new-job.ts'
import type { OpenLanes } from './open-lanes.ts'
import type { Outbox } from './outbox.ts'
import type { Forecaster } from './read.ts'
import type { ReplyInbox } from './reply-inbox.ts'

/** How an accepted job gets to a worker, when it is expected to get there, and how its end comes back. */
export type Dispatch = {
  outbox: Outbox
  forecaster: Forecaster
  /** Null: every job goes through its lane's queue. */
  openLanes: OpenLanes | null
  /**
   * Gives what is needed to start a job where it is created (services/start-plans.ts); null: this job is not started
   * there. The member itself is null if no job is.
   */
  planStart: ((job: Pick<NewJob, 'tenant' | 'lane' | 'cost'>) => Promise<StartPlan | null>) | null
  /** Learns when the jobs scheduled in this process are due; null: only the maintainer looks. */
  dueTimers: Pick<DueTimers, 'note'> | null
  /** For awaited jobs; null: their ends are read like those of other jobs. */
  replyInbox: ReplyInbox | null
}
