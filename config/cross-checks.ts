import { CronError, parseCron } from '../lib/cron.ts'
import { isTimeZone } from '../lib/local-time.ts'
import { decodeEncryptionKey, encryptionKeyPattern } from './encryption-key.ts'
import { digestConfiguredKey } from './key-digest.ts'
import { isLoopback } from './loopback.ts'
import { matchesModel } from './match-model.ts'

/** Fault texts of route entries. These are not secrets, so a fault may show them. */
export const laneFaults = {
  form: 'expected a lane "provider/model"',
  wildcard: 'expected one model, not "*"',
  provider: 'no such lane: its provider is not configured',
  model: 'no such lane: its provider lists neither the model nor "*"',
} as const

export type ReferenceFault = { path: (string | number)[]; message: string; input?: string }

/**
 * Checks that compare two places of the configuration. They also run if single members are invalid, so they assume nothing about the shape:
 * a value of the wrong type is reported by another check.
 */
export function checkReferences(config: unknown): ReferenceFault[] {
  if (!isRecord(config)) return []
  return [
    ...checkRoutes(config.routes, config.providers),
    ...checkSharedLimits(config.providers),
    ...checkMediaLimits(config.providers),
    ...checkKeys(config.tenants),
    ...checkHost(config.server, config.tenants),
    ...checkRedis(config.redis),
    ...checkFiles(config.files),
    ...checkEncryption(config.encryption),
    ...checkRedrive(config),
    ...checkSchedules(config),
    ...checkWebhooks(config.webhooks),
  ]
}

function checkWebhooks(webhooks: unknown): ReferenceFault[] {
  if (!isRecord(webhooks) || webhooks.operations_url === undefined || webhooks.secret) return []
  return [{ path: ['webhooks', 'operations_url'], message: 'needs webhooks.secret to sign its webhooks' }]
}

function checkRoutes(routes: unknown, providers: unknown): ReferenceFault[] {
  const faults: ReferenceFault[] = []
  for (const [alias, lanes] of entriesOf(routes)) {
    if (!Array.isArray(lanes)) continue
    for (const [index, lane] of lanes.entries()) {
      if (typeof lane !== 'string') continue
      const message = findLaneFault(lane, providers)
      if (message !== null) faults.push({ path: ['routes', alias, index], message, input: lane })
    }
  }
  return faults
}

function findLaneFault(lane: string, providers: unknown): string | null {
  const slash = lane.indexOf('/')
  if (slash <= 0 || slash === lane.length - 1) return laneFaults.form
  const provider = new Map(entriesOf(providers)).get(lane.slice(0, slash))
  if (provider === undefined) return laneFaults.provider
  const models = isRecord(provider) ? provider.models : undefined
  // A provider without a valid list of models already has a fault.
  if (!isRecord(models)) return null
  const model = lane.slice(slash + 1)
  if (model === '*') return laneFaults.wildcard
  if (Object.hasOwn(models, model) || Object.hasOwn(models, '*')) return null
  return laneFaults.model
}

/** A lane counts images instead of output tokens, and audio instead of input tokens. */
const EXCLUSIVE = [
  ['images_per_minute', 'output_tokens_per_minute'],
  ['audio_seconds_per_minute', 'input_tokens_per_minute'],
] as const

function checkMediaLimits(providers: unknown): ReferenceFault[] {
  return entriesOf(providers).flatMap(([provider, settings]) => {
    const { limits, shared_limits, models } = isRecord(settings) ? settings : {}
    return entriesOf(models).flatMap(([model, own]) => {
      const apart = isRecord(own) ? own.limits : undefined
      const shared = entriesOf(shared_limits).flatMap(([, limit]) =>
        isRecord(limit) &&
        Array.isArray(limit.models) &&
        limit.models.some((one) => matchesModel(String(one), model))
          ? [limit]
          : [],
      )
      const all = [limits, apart, ...shared].filter(isRecord)
      return EXCLUSIVE.flatMap(([media, tokens]) => {
        const has = (name: string) => all.some((one) => one[name] !== undefined)
        if (!has(media) || !has(tokens)) return []
        const path = ['providers', provider, 'models', model]
        return [{ path, message: `expected either ${media} or ${tokens}, not both` }]
      })
    })
  })
}

/** A pattern that matches no model is a mistake: it would limit nothing. */
function checkSharedLimits(providers: unknown): ReferenceFault[] {
  return entriesOf(providers).flatMap(([provider, settings]) => {
    const { shared_limits, models } = isRecord(settings) ? settings : {}
    if (!isRecord(models) || Object.hasOwn(models, '*')) return []
    return entriesOf(shared_limits).flatMap(([name, limit]) =>
      (isRecord(limit) && Array.isArray(limit.models) ? limit.models : []).flatMap((pattern, index) => {
        if (typeof pattern !== 'string') return []
        if (Object.keys(models).some((model) => matchesModel(pattern, model))) return []
        const path = ['providers', provider, 'shared_limits', name, 'models', index]
        return [{ path, message: 'names no model of this provider', input: pattern }]
      }),
    )
  })
}

function checkKeys(tenants: unknown): ReferenceFault[] {
  const faults: ReferenceFault[] = []
  const owners = new Map<string, string>()
  for (const [tenant, settings] of entriesOf(tenants)) {
    const keys = isRecord(settings) && Array.isArray(settings.keys) ? settings.keys : []
    for (const [index, key] of keys.entries()) {
      if (typeof key !== 'string') continue
      const digest = digestConfiguredKey(key).toString('hex')
      const owner = owners.get(digest)
      if (owner === undefined) owners.set(digest, tenant)
      else if (owner !== tenant) {
        faults.push({
          path: ['tenants', tenant, 'keys', index],
          message: `tenant "${owner}" has the same key`,
        })
      }
    }
  }
  return faults
}

function checkHost(server: unknown, tenants: unknown): ReferenceFault[] {
  const host = isRecord(server) ? server.host : undefined
  if (typeof host !== 'string' || isLoopback(host) || entriesOf(tenants).length > 0) return []
  return [{ path: ['server', 'host'], message: 'a host beyond loopback needs tenants with keys' }]
}

function checkRedis(redis: unknown): ReferenceFault[] {
  if (!isRecord(redis)) return []
  const { url, cluster, tls } = redis
  const faults: ReferenceFault[] = []
  if (url !== undefined && cluster !== undefined) {
    faults.push({ path: ['redis', 'cluster'], message: 'expected either url or cluster, not both' })
  }
  // A redis:// URL with certificates would silently be unencrypted.
  const urls = Array.isArray(cluster) ? cluster : [url]
  if (tls !== undefined && !urls.every((one) => typeof one === 'string' && one.startsWith('rediss:'))) {
    faults.push({ path: ['redis', 'tls'], message: 'is only for rediss:// URLs' })
  }
  return faults
}

function checkFiles(files: unknown): ReferenceFault[] {
  if (!isRecord(files) || files.store !== 's3' || files.s3 !== undefined) return []
  return [{ path: ['files', 's3'], message: 'is required if files.store is s3' }]
}

function checkEncryption(encryption: unknown): ReferenceFault[] {
  const keys = isRecord(encryption) && Array.isArray(encryption.keys) ? encryption.keys : []
  const places = new Map<string, number>()
  return keys.flatMap((key, index) => {
    if (typeof key !== 'string' || !encryptionKeyPattern.test(key)) return []
    const bytes = decodeEncryptionKey(key).toString('hex')
    const known = places.get(bytes)
    if (known === undefined) places.set(bytes, index)
    return known === undefined
      ? []
      : [{ path: ['encryption', 'keys', index], message: `is the same key as encryption.keys[${known}]` }]
  })
}

function checkRedrive({ redrive, providers, jobs }: Record<string, unknown>): ReferenceFault[] {
  if (!Array.isArray(redrive)) return []
  const retain = isRecord(jobs) ? jobs.retain : undefined
  return redrive.filter(isRecord).flatMap(({ lanes, after }, index) => {
    const faults: ReferenceFault[] = []
    for (const [at, lane] of Array.isArray(lanes) ? lanes.entries() : []) {
      const message = typeof lane === 'string' ? findLaneFault(lane, providers) : null
      if (message !== null) faults.push({ path: ['redrive', index, 'lanes', at], message, input: lane })
    }
    if (typeof after === 'number' && typeof retain === 'number' && after >= retain) {
      const message = 'expected less than jobs.retain, after which a failed job is deleted'
      faults.push({ path: ['redrive', index, 'after'], message })
    }
    return faults
  })
}

/** Checks of schedules that compare two places or need more than a pattern. */
function checkSchedules({ schedules, tenants }: Record<string, unknown>): ReferenceFault[] {
  if (!Array.isArray(schedules)) return []
  const names = new Set(entriesOf(tenants).map(([name]) => name))
  const known = new Set<string>()
  return schedules.flatMap((schedule: unknown, index) => {
    if (!isRecord(schedule)) return []
    const faults: ReferenceFault[] = []
    const fault = (member: string, message: string) =>
      faults.push({ path: ['schedules', index, member], message })
    const { tenant, name, cron, every, time_zone: zone = 'UTC', job, flow } = schedule
    if (names.size > 0 && tenant === undefined) fault('tenant', 'is required if there are tenants')
    if (typeof tenant === 'string' && !names.has(tenant)) fault('tenant', 'no such tenant is configured')
    const key = JSON.stringify([tenant, name])
    if (known.has(key)) fault('name', 'is also the name of another schedule of the tenant')
    known.add(key)
    if ((cron === undefined) === (every === undefined)) fault('cron', 'expected either cron or every')
    if ((job === undefined) === (flow === undefined)) fault('job', 'expected either job or flow')
    const isZone = typeof zone === 'string' && isTimeZone(zone)
    if (!isZone) fault('time_zone', 'expected the name of a time zone, such as Europe/Berlin')
    const cronFault = typeof cron === 'string' && isZone ? findCronFault(cron, zone) : null
    if (cronFault !== null) fault('cron', cronFault)
    return faults
  })
}

function findCronFault(cron: string, zone: string): string | null {
  try {
    parseCron(cron, zone)
    return null
  } catch (error) {
    if (error instanceof CronError) return error.message
    throw error
  }
}

function entriesOf(value: unknown): [string, unknown][] {
  return isRecord(value) ? Object.entries(value) : []
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
