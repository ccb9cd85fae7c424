import { z } from 'zod'
import { budgetEvents } from '../../jobs/budget-events.ts'
import { JobType } from '../../jobs/job.ts'
import type { EventFilter } from '../../lib/event-references.ts'
import { ApiError, idPatterns } from '../errors.ts'
import { groupSchema } from '../jobs/create-schema.ts'

const DELTA = 'job.delta'

/** All event names. */
const eventNames = [
  ...['job.queued', 'job.started', DELTA, 'job.retrying', 'job.completed', 'job.failed', 'job.cancelled'],
  ...['flow.started', 'flow.completed', 'flow.failed', 'flow.cancelled'],
  ...budgetEvents,
  ...['step.started', 'step.completed', 'step.failed', 'step.skipped', 'step.waiting'],
]

/** Filters for a tenant's events, as members of a query or of a message. */
export const eventFilterShape = {
  type: z.enum(JobType).optional().describe('Of jobs of this type.'),
  group: groupSchema.optional().describe('Of jobs of this group, of its flows and its budgets.'),
  lane: z
    .string()
    .min(1)
    .max(512)
    .optional()
    .describe('Of jobs of this lane (`provider/model`), where they are now.'),
  flow: z
    .string()
    .regex(idPatterns.flow, { error: 'expected the id of a flow' })
    .optional()
    .describe('Of this flow, and of its jobs.'),
  durable: z
    .string()
    .regex(idPatterns['durable run'], { error: 'expected the id of a durable run' })
    .optional()
    .describe('Of the jobs of this durable run.'),
  event: z
    .string()
    .max(1000)
    .optional()
    .describe('Events of this name, or of these, with commas between them: `job.completed,job.failed`.'),
}

type Asked = {
  type?: string | undefined
  group?: string | undefined
  lane?: string | undefined
  flow?: string | undefined
  durable?: string | undefined
  event?: string | undefined
}

/** Throws `invalid_request`. `prefix` is put before the path of a fault. */
export function toFilter({ event, ...asked }: Asked, withDeltas: boolean, prefix: string): EventFilter {
  if (event === undefined) return asked
  const names = event.split(',')
  const fault = (what: string) =>
    new ApiError('invalid_request', `${prefix}event: ${what}`, { param: `${prefix}event` })
  if (names.some((name) => !eventNames.includes(name)))
    throw fault(`expected some of ${eventNames.join(', ')}`)
  if (names.includes(DELTA) && !withDeltas) throw fault(`${DELTA} comes only with deltas=true`)
  return { ...asked, events: new Set(names) }
}
