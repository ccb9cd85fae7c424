import { hash } from 'node:crypto'
import type { AtRest } from './at-rest.ts'

/** Longest fair key, in characters. A longer name in a body is replaced by its digest. */
const LONGEST_FAIR_KEY = 256

/**
 * The digest that stands for a fair key in keys and entries of Redis. A fair key may be an e-mail address, so only the
 * job's record contains it. If encryption is configured, the digest is keyed.
 *
 * @param root the tenant's
 */
export function digestFairKey(root: string, fairKey: string, atRest: Pick<AtRest, 'digests'>): string {
  const [digest] = atRest.digests(hash('sha256', `fair key\n${root}\n${fairKey}`))
  return hash('sha256', digest, 'base64url').slice(0, 16)
}

/** The limits of each fair key of a tenant; null: no limit. */
export type FairKeyLimits = {
  /** Jobs whose calls are under way. */
  maxRunning: number | null
  /** Open jobs. */
  maxQueued: number | null
  /** Calls that start in a minute. */
  requestsPerMinute: number | null
}

/** The limits in the form that start.lua and create.lua read. */
export function encodeFairKeyLimits(limits: Pick<FairKeyLimits, 'maxRunning' | 'requestsPerMinute'>): string {
  return `${limits.maxRunning ?? '-'} ${limits.requestsPerMinute ?? '-'}`
}

/**
 * The end user that a body names: OpenAI's `safety_identifier` or `user`, Anthropic's `metadata.user_id`; undefined:
 * none.
 */
export function fairKeyOfBody(body: Readonly<Record<string, unknown>>): string | undefined {
  const { metadata } = body as { metadata?: { user_id?: unknown } | null }
  const named = [body.safety_identifier, body.user, metadata?.user_id].find(
    (value) => typeof value === 'string' && value !== '',
  ) as string | undefined
  if (named === undefined || named.length <= LONGEST_FAIR_KEY) return named
  return `sha256:${hash('sha256', named)}`
}
