import type { Lane } from '../../config/lanes.ts'
import type { Tier } from '../../jobs/job.ts'
import type { JsonObject } from '../../lib/json.ts'
import { isWithoutOutput } from '../../providers/endpoints.ts'
import { ApiError } from '../errors.ts'
import type { CreateJob } from './create-schema.ts'

/**
 * Chooses the tier of a job: its own `tier`, or else `service_tier` of its body, or else the lane's default. Throws `invalid_request` for a
 * tier that its lane does not have.
 *
 * @param isAwaited a client waits on its connection: no default makes it wait for a batch
 */
export function chooseTier(lane: Lane, create: CreateJob, isAwaited: boolean): Tier {
  if (create.tier) return checkTier(lane, create)
  const { service_tier: said } = create.body as JsonObject
  if (typeof said === 'string' && said !== 'auto') {
    return said === 'flex' && hasFlex(lane, create.type) ? 'flex' : 'standard'
  }
  const byDefault = lane.defaultTier ?? 'standard'
  if (isAwaited && (byDefault === 'batch' || byDefault === 'auto')) return 'standard'
  if (byDefault === 'flex' && !hasFlex(lane, create.type)) return 'standard'
  return byDefault === 'batch' && lane.tiers?.batch == null ? 'standard' : byDefault
}

function checkTier(lane: Lane, { tier, type }: CreateJob): Tier {
  if (tier === 'flex' && !hasFlex(lane, type)) {
    const why = isWithoutOutput(type) ? `jobs of type ${type} have no flex` : `${lane.id} has no flex`
    throw new ApiError('invalid_request', `tier: ${why}`, { param: 'tier' })
  }
  if (tier === 'batch' && lane.tiers?.batch == null) {
    throw new ApiError('invalid_request', `tier: ${lane.id} has no batch`, { param: 'tier' })
  }
  return tier ?? 'standard'
}

function hasFlex(lane: Lane, type: CreateJob['type']): boolean {
  return !isWithoutOutput(type) && lane.tiers?.flex != null
}

/** Timeout of one call, ms, where the job sets none. */
export function timeoutFor(lane: Lane, tier: Tier): number {
  return tier === 'flex' && lane.tiers?.flex ? Math.max(lane.timeout, lane.tiers.flex.timeout) : lane.timeout
}
