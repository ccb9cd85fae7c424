import type { Break } from './break.ts'
import { BATCH_BREAKS } from './breaks/batches.ts'
import { DOOR_BREAKS } from './breaks/doors.ts'
import { DURABLE_BREAKS } from './breaks/durable.ts'
import { JOB_BREAKS } from './breaks/jobs.ts'
import { ORDER_BREAKS } from './breaks/orders.ts'
import { PROVIDER_BREAKS } from './breaks/providers.ts'
import { LIMIT_BREAKS } from './breaks/ratelimit.ts'
import { WEBHOOK_BREAKS } from './breaks/webhooks.ts'
import { WORKER_BREAKS } from './breaks/workers.ts'

export const BREAKS: readonly Break[] = [
  ...JOB_BREAKS,
  ...LIMIT_BREAKS,
  ...WORKER_BREAKS,
  ...PROVIDER_BREAKS,
  ...WEBHOOK_BREAKS,
  ...BATCH_BREAKS,
  ...DURABLE_BREAKS,
  ...ORDER_BREAKS,
  ...DOOR_BREAKS,
]
