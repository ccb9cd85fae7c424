import type { Budget } from './budget-windows.ts'
import type { ModelAccess } from './model-access.ts'

/** A key whose budgets pay for the work that it started. */
export type Payer = { key: string; budgets: readonly Budget[] }

/**
 * The terms of a key. Work that it starts keeps them, even work that continues later, such as a batch, a flow or a schedule, and even after
 * the key is revoked.
 */
export type KeyTerms = {
  /** The models that may be called; absent: every model. */
  models?: ModelAccess
  /** Keys with budgets; absent: none. */
  payers?: readonly Payer[]
}

/** Only the terms, from a tenant, a record or anything else that has them. */
export function termsOf({ models, payers }: KeyTerms): KeyTerms {
  return { ...(models === undefined ? {} : { models }), ...(payers?.length ? { payers } : {}) }
}

/** Adds terms: only models that both allow may be called, and each payer pays once. */
export function underTerms<Holder extends KeyTerms>(holder: Holder, terms: KeyTerms): Holder {
  const models = [...(holder.models ?? []), ...(terms.models ?? [])]
  const own = holder.payers ?? []
  const further = (terms.payers ?? []).filter(({ key }) => own.every((payer) => payer.key !== key))
  return {
    ...holder,
    ...(models.length > 0 ? { models } : {}),
    ...(own.length + further.length > 0 ? { payers: [...own, ...further] } : {}),
  }
}

/** Serializes terms for records; '' for an absent member. */
export function writeTerms({ models, payers }: KeyTerms): { models: string; payers: string } {
  return {
    models: models === undefined ? '' : JSON.stringify(models),
    payers: payers?.length ? JSON.stringify(payers) : '',
  }
}

/** Parses the output of `writeTerms`. */
export function readTerms(fields: {
  models?: string | null | undefined
  payers?: string | null | undefined
}): KeyTerms {
  const { models, payers } = fields
  return {
    ...(models ? { models: JSON.parse(models) as ModelAccess } : {}),
    ...(payers ? { payers: JSON.parse(payers) as Payer[] } : {}),
  }
}
