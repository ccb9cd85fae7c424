import { findNearest } from '../../lib/nearest.ts'
import { ApiError } from '../errors.ts'

/** Longest name that a message repeats. */
const LONGEST_NAME = 200

/**
 * The error message for an unknown model, with similar names.
 *
 * @param known names that a request may use: lanes and aliases of the configuration
 */
export function describeMissingModel(model: string, known: readonly string[]): string {
  const shown = model.length > LONGEST_NAME ? `${model.slice(0, LONGEST_NAME)}…` : model
  const near = findNear(model, known)
  const hint =
    near.length > 0
      ? `did you mean ${near.map((name) => JSON.stringify(name)).join(' or ')}? GET /v1/models lists all`
      : 'name a provider/model or an alias that is configured; GET /v1/models lists them'
  return `there is no model ${JSON.stringify(shown)} here; ${hint}`
}

/** @param param the member of the request that names the model */
export function modelNotFound(model: string, known: readonly string[], param: string): ApiError {
  const said = describeMissingModel(model, known)
  return new ApiError('model_not_found', param === 'model' ? said : `${param}: ${said}`, { param })
}

/** Lanes of the same model name without its provider; otherwise a similar name. */
function findNear(model: string, known: readonly string[]): string[] {
  const lower = model.toLowerCase()
  const same = known.filter((name) => name.slice(name.indexOf('/') + 1).toLowerCase() === lower)
  if (same.length > 0) return same.slice(0, 3)
  const bare = new Map(known.map((name) => [name.slice(name.indexOf('/') + 1), name]))
  const near = findNearest(model, known) ?? bare.get(findNearest(model, [...bare.keys()]) ?? '')
  return near === undefined ? [] : [near]
}
