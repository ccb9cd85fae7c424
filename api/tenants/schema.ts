import { z } from 'zod'
import { scopes } from '../../config/scopes.ts'
import {
  fairKeyLimits,
  keyBudgets,
  modelPatterns,
  tenantLimits,
  tenantName,
  tenantSettings,
} from '../../config/tenants-schema.ts'
import { tenantSchema as tenantFiguresSchema } from '../overview/schema.ts'
import { shownBudgets } from '../schemas/budgets.ts'

const { weight, limits, models, cache, per_fair_key: perFairKey } = tenantSettings.shape

export const nameParams = z.object({ name: z.string().max(64) })
export const keyParams = nameParams.extend({ id: z.string().max(64) })

export const createTenantSchema = z.strictObject({
  name: tenantName.describe('A letter or digit, then letters, digits and `. _ -`; at most 64 characters.'),
  weight: weight.optional(),
  limits: limits.optional(),
  per_fair_key: perFairKey,
  models: models.describe('Lanes, aliases, or patterns such as `openai/*`. Without it every model.'),
  cache: cache.optional(),
})

/** An object with the same members, each of which may be null. */
function nullableMembers<Shape extends { [name: string]: z.ZodOptional<z.ZodType> }>(shape: Shape) {
  return z.strictObject(
    Object.fromEntries(Object.entries(shape).map(([name, member]) => [name, member.unwrap().nullish()])) as {
      [name in keyof Shape]: z.ZodOptional<z.ZodNullable<ReturnType<Shape[name]['unwrap']>>>
    },
  )
}

/** Null resets a member, or a member of `limits` or `per_fair_key`, to its default. */
export const changeTenantSchema = z.strictObject({
  weight: weight.unwrap().nullish(),
  limits: nullableMembers(tenantLimits.shape).nullish(),
  per_fair_key: nullableMembers(fairKeyLimits.shape).nullish(),
  models: modelPatterns.nullish(),
  cache: cache.unwrap().nullish(),
})

export const pauseTenantSchema = z
  .strictObject({
    for_ms: z.int().min(1).optional().describe('Duration of the pause; absent: until resumed.'),
    reason: z.string().min(1).max(200).optional(),
  })
  .nullish()

export const createKeySchema = z.strictObject({
  name: z.string().min(1).max(100).nullish().describe('Its purpose.'),
  expires_at: z.iso
    .datetime({ offset: true })
    .nullish()
    .describe('The key is refused after this time. Default: never.'),
  budgets: keyBudgets.nullish().describe('USD that jobs submitted with the key may cost.'),
  models: modelPatterns.nullish().describe('Models that the key may call, among those of its tenant.'),
  scopes: z
    .array(z.enum(scopes))
    .min(1)
    .refine((list) => new Set(list).size === list.length, { error: 'expected each scope once' })
    .nullish()
    .describe(
      '`jobs` includes `read`, `admin` everything; `metrics` reads /metrics and nothing else. Default: jobs, read.',
    ),
})

/** A tenant with its current figures. */
export const tenantSchema = tenantFiguresSchema
  .extend({
    object: z.literal('tenant'),
    name: z.string(),
    source: z.enum(['file', 'api']).describe('`file`: defined in the configuration, and read-only here.'),
    admin: z.boolean().describe('Whether its keys of the configuration are admin keys.'),
    limits: z.object({ ...tenantLimits.shape, budgets: shownBudgets.optional() }),
    per_fair_key: fairKeyLimits
      .extend({ budgets: shownBudgets.optional() })
      .nullable()
      .describe('What each fair key may use; null: no limits.'),
    models: z.array(z.string()).nullable().describe('null: every model.'),
    created_at: z.iso.datetime().nullable(),
  })
  .meta({ id: 'TenantDetails' })

export const keySchema = z
  .object({
    id: z.string(),
    object: z.literal('key'),
    tenant: z.string(),
    name: z.string().nullable(),
    hint: z.string().describe('The last characters of the secret.'),
    scopes: z.array(z.enum(scopes)),
    models: z.array(z.string()).nullable(),
    budgets: shownBudgets,
    expires_at: z.iso.datetime().nullable(),
    created_at: z.iso.datetime(),
  })
  .meta({ id: 'Key' })

export const newKeySchema = keySchema
  .extend({ secret: z.string().describe('`sk-sluice-…`: it is shown only once.') })
  .meta({ id: 'NewKey' })

export const auditLineSchema = z
  .object({
    id: z.string(),
    object: z.literal('audit_line'),
    at: z.iso.datetime(),
    actor: z.object({
      tenant: z.string().describe('The tenant whose key was sent.'),
      key: z.string().nullable().describe('null: a key of the configuration.'),
      ip: z.string(),
      request_id: z.string(),
    }),
    action: z.enum([
      'tenant.create',
      'tenant.update',
      'tenant.delete',
      'key.create',
      'key.revoke',
      'lane.pause',
      'lane.resume',
      'tenant.pause',
      'tenant.resume',
    ]),
    target: z.object({
      tenant: z.string().nullable(),
      key: z.string().nullable(),
      lane: z.string().nullable(),
    }),
    changes: z.record(z.string(), z.object({ from: z.any(), to: z.any() })),
  })
  .meta({ id: 'AuditLine' })
