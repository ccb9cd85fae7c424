import type { Submission } from '../api/deps.ts'
import { listModels, resolveModel } from '../config/lanes.ts'
import type { LiveConfig } from '../config/watch.ts'
import { hashPrefix } from '../lib/prompt-prefix.ts'
import { estimateCost, readOutputBound } from '../providers/accounting.ts'
import { readCoalesceKey } from '../providers/coalesce-key.ts'
import { countImages, makesImages } from '../providers/endpoints.ts'
import { findSurcharges } from '../providers/surcharges.ts'
import { createAddressGuard } from '../webhooks/address-guard.ts'

/**
 * Turns a request into a job, for every protocol.
 *
 * @param batchTurnaround how long a lane's provider batches took lately, ms; null: unknown
 */
export function createSubmission(
  config: LiveConfig,
  batchTurnaround: Submission['batchTurnaround'],
): Submission {
  return {
    resolveModel: (model) => resolveModel(config.current(), model),
    listModels: () => listModels(config.current()),
    estimateCost: (lane, type, body) => {
      const dearRates = lane.price === null || type === 'embedding' ? [] : findSurcharges(lane.price, body)
      const prefix = lane.promptCache === 'warm' && type !== 'embedding' ? hashPrefix(body) : null
      return {
        ...estimateCost({ kind: lane.kind, type, body }),
        coalesceKey: readCoalesceKey(type, body),
        ...readOutputBound(type, body),
        ...(prefix === null ? {} : { prefix }),
        ...(dearRates.length === 0 ? {} : { dearRates }),
        ...(makesImages(type) ? { images: countImages(type, body) } : {}),
      }
    },
    checkWebhookUrl: (url) => {
      const { secret, allow_private_addresses } = config.current().webhooks
      if (secret === undefined) {
        return { ok: false, reason: 'cannot be signed: the configuration has no webhooks.secret' }
      }
      return createAddressGuard({ allowPrivateAddresses: allow_private_addresses }).checkUrl(url)
    },
    batchTurnaround,
    hasTenants: () => Object.keys(config.current().tenants).length > 0,
  }
}
