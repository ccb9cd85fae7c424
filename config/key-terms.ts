import type { Budget } from './budget-windows.ts'
import type { ModelAccess } from './model-access.ts'

/** A key whose budgets pay for what it started. */
export type Payer = { key: string; budgets: readonly Budget[] }

/**
 * The terms under which a key works. What it starts and what goes on without it, such as a batch, a flow or a schedule, keeps them, also where
 * the key is revoked.
 */
export type KeyTerms = {
  /** What may be called; without it every model. */
  models?: ModelAccess
  /** Keys with budgets; without it none. */
  payers?: readonly Payer[]
}

/** The terms alone, of a tenant, a record or anything else that has them. */
export function termsOf({ models, payers }: KeyTerms): KeyTerms {
  return { ...(models === undefined ? {} : { models }), ...(payers?.length ? { payers } : {}) }
}

/** With further terms: what both let through may be called, and each payer pays once. */
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

/** As records keep them: names and texts, '' for what is not there. */
export function writeTerms({ models, payers }: KeyTerms): { models: string; payers: string } {
  return {
    models: models === undefined ? '' : JSON.stringify(models),
    payers: payers?.length ? JSON.stringify(payers) : '',
  }
}

/** What `writeTerms` wrote. */
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
