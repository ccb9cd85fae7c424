import type { Lane } from '../../config/lanes.ts'
import { permittedLanes } from '../../config/model-access.ts'
import type { Tenant } from '../../config/tenants.ts'
import type { Submission } from '../deps.ts'
import { modelNotFound } from '../openai/missing-model.ts'

/** The lanes of a model, and those among them that the tenant or its key may not use. */
export function resolvePermitted(
  tenant: Pick<Tenant, 'models'>,
  model: string,
  deps: { submission: Pick<Submission, 'resolveModel'> },
): { lanes: Lane[]; refused: string[] } {
  const all = deps.submission.resolveModel(model)?.lanes ?? []
  const lanes = permittedLanes(tenant.models, model, all)
  return { lanes, refused: all.filter((lane) => !lanes.includes(lane)).map(({ id }) => id) }
}

/** Throws `model_not_found` if the tenant or its key may not call the model. */
export function requirePermitted(
  tenant: Pick<Tenant, 'models'>,
  model: string,
  deps: { submission: Pick<Submission, 'resolveModel' | 'listModels'> },
): void {
  if (resolvePermitted(tenant, model, deps).lanes.length > 0) return
  throw modelNotFound(model, listPermitted(tenant, deps), 'body.model')
}

/** Names of models that an error may list: those that the tenant and its key may call. */
export function listPermitted(
  tenant: Pick<Tenant, 'models'>,
  deps: { submission: Pick<Submission, 'resolveModel' | 'listModels'> },
): string[] {
  if (tenant.models === undefined) return deps.submission.listModels()
  return deps.submission.listModels().filter((name) => resolvePermitted(tenant, name, deps).lanes.length > 0)
}
