import { type KeyTerms, underTerms } from '../../config/key-terms.ts'
import { resolveTenant } from '../../config/tenants.ts'
import { type FlowError, toFlowError } from '../../flows/flow.ts'
import type { NewJob } from '../../jobs/new-job.ts'
import type { JsonValue } from '../../lib/json.ts'
import { ApiError } from '../errors.ts'
import { parseRequest } from '../issues.ts'
import { createJobSchema } from '../jobs/create-schema.ts'
import { toNewJob } from '../jobs/submit.ts'
import type { FlowCheckDeps } from './check-job.ts'

/**
 * Makes jobs from the filled create objects of flows, like `POST /v1/jobs`. If that would refuse the job, the refusal is the step's error.
 * Null: the tenant is no longer configured.
 */
export function createFlowJobMaker(deps: FlowCheckDeps) {
  return (
    tenantName: string,
    create: JsonValue,
    place: string,
    terms: KeyTerms,
  ): NewJob | FlowError | null => {
    const owner = resolveTenant(deps.config(), tenantName)
    if (owner === null) return null
    const tenant = underTerms(owner, terms)
    try {
      return toNewJob(tenant, parseRequest(createJobSchema, create, place, place), null, deps)
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      const isPlaced = error.message.startsWith(place)
      return toFlowError(error.code, isPlaced ? error.message : `${place}.${error.message}`)
    }
  }
}
