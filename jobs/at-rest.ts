import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { keepSource, stringifyJson } from '../lib/json-source.ts'
import { isSealed, type SealedPlace, type Sealer, UnreadableError } from '../lib/sealer.ts'
import type { JobError } from './job.ts'
import { decodePayload, encodeBody, encodeResult } from './payload.ts'

/** An error as it is stored. If it is encrypted, `sealed` holds the parts that may quote a prompt. */
export type StoredError = JobError | (Omit<JobError, 'message' | 'provider_error'> & { sealed: string })

/**
 * Encrypts the stored parts of jobs, if that is configured: bodies, results, chunks of streams, and the texts of
 * errors. Each part is bound to its tenant, its job and its kind. Scripts give the result of one job to its followers
 * and to the cache. So a result is bound to the content hash that they share, and names the job that it was encrypted
 * for. Plain text from earlier is read as it is. `root` is the tenant's. `open…` throws `UnreadableError` unless it
 * says otherwise.
 */
export type AtRest = {
  /** The stored forms of a content hash or another digest. The first is the one that is written now; see Sealer. */
  digests(plain: string): [string, ...string[]]
  sealBody(root: string, id: string, body: JsonObject): Buffer | string
  openBody(root: string, id: string, stored: Buffer): JsonObject
  sealResult(root: string, id: string, hash: string, result: JsonObject): Buffer | string
  /**
   * A result in the form that `encodeResult` writes and `decodePayload` reads. `id`: the job that it must have been
   * sealed for; null: any job of the tenant with this content.
   */
  openResultPayload(root: string, id: string | null, hash: string, stored: Buffer): Buffer
  openResult(root: string, id: string | null, hash: string, stored: Buffer): JsonObject
  /** As the member of an event, with its name in front. */
  sealChunk(root: string, id: string, call: number, chunk: JsonValue): string
  /** Null for a chunk that cannot be opened. */
  openChunk(root: string, id: string, call: number, sealed: string): JsonValue
  /** As JSON text. */
  sealError(root: string, id: string, error: JobError): string
  /** Has another message if its own cannot be opened. */
  openError(root: string, stored: StoredError): JobError
  /** A job's fair key, which may be an e-mail address. */
  sealFairKey(root: string, id: string, fairKey: string): string
  /** Null for a fair key that cannot be opened. */
  openFairKey(root: string, id: string, stored: string): string | null
  /** Reports a part that cannot be opened and is shown as missing. */
  onUnreadable(error: UnreadableError, id: string): void
}

/** @param onUnreadable for the log; `id` is the job's */
export function createAtRest(deps: {
  sealer: Sealer
  onUnreadable: (error: UnreadableError, id: string) => void
}): AtRest {
  const { sealer, onUnreadable } = deps

  function sealPayload(place: SealedPlace, encoded: Buffer | string): Buffer | string {
    return sealer.seal(place, encoded) ?? encoded
  }

  function unseal(place: Parameters<Sealer['open']>[0], stored: Buffer): Buffer {
    return isSealed(stored) ? sealer.open(place, stored) : stored
  }

  function openPayload(place: Parameters<Sealer['open']>[0], stored: Buffer): JsonObject {
    return decodePayload(unseal(place, stored))
  }

  function sealText(place: SealedPlace, text: string): string | null {
    return sealer.seal(place, Buffer.from(text))?.toString('base64') ?? null
  }

  function openText(place: Parameters<Sealer['open']>[0], sealed: string): JsonValue {
    const text = sealer.open(place, Buffer.from(sealed, 'base64')).toString('utf8')
    const value = JSON.parse(text) as JsonValue
    return isJsonObject(value) ? keepSource(value, text) : value
  }

  const chunkPlace = (root: string, id: string, call: number) => ({ root, purpose: `chunk ${call}`, id })

  return {
    onUnreadable,
    digests: (plain) => sealer.digests(plain),
    sealBody: (root, id, body) => sealPayload({ root, purpose: 'body', id }, encodeBody(body)),
    openBody: (root, id, stored) => openPayload({ root, purpose: 'body', id }, stored),
    sealResult: (root, id, content, result) =>
      sealPayload({ root, purpose: 'result', id, content }, encodeResult(result)),
    openResultPayload: (root, id, content, stored) =>
      unseal({ root, purpose: 'result', id, content }, stored),
    openResult: (root, id, content, stored) => openPayload({ root, purpose: 'result', id, content }, stored),
    sealChunk(root, id, call, chunk) {
      const text = stringifyJson(chunk)
      const sealed = sealText(chunkPlace(root, id, call), text)
      return sealed === null ? `"chunk":${text}` : `"sealed":"${sealed}"`
    },
    openChunk(root, id, call, sealed) {
      try {
        return openText(chunkPlace(root, id, call), sealed)
      } catch (error) {
        if (!(error instanceof UnreadableError)) throw error
        onUnreadable(error, id)
        return null
      }
    },
    sealFairKey(root, id, fairKey) {
      const text = JSON.stringify(fairKey)
      return sealText({ root, purpose: 'fair key', id }, text) ?? text
    },
    openFairKey(root, id, stored) {
      try {
        const place = { root, purpose: 'fair key', id }
        const value: unknown = stored.startsWith('"') ? JSON.parse(stored) : openText(place, stored)
        return typeof value === 'string' ? value : null
      } catch (error) {
        if (!(error instanceof UnreadableError)) throw error
        onUnreadable(error, id)
        return null
      }
    },
    sealError(root, id, error) {
      const { message, provider_error, ...rest } = error
      const secret = provider_error === undefined ? { message } : { message, provider_error }
      const sealed = sealText({ root, purpose: 'error', id }, JSON.stringify(secret))
      return JSON.stringify(sealed === null ? error : { ...rest, sealed })
    },
    openError(root, stored) {
      if (!('sealed' in stored)) return stored
      const { sealed, ...rest } = stored
      try {
        const secret = openText({ root, purpose: 'error', id: null }, sealed)
        return { ...rest, ...(isJsonObject(secret) ? secret : {}) } as JobError
      } catch (error) {
        if (!(error instanceof UnreadableError)) throw error
        return {
          ...rest,
          message: 'The message of this error is encrypted with a key that is not configured.',
        }
      }
    },
  }
}

/** The error of a job of which a part cannot be opened. */
export function toUndecryptable(error: UnreadableError): JobError {
  const why =
    error.missingKey === null
      ? 'it was changed or damaged after it was stored'
      : 'the key that it was encrypted with is not configured'
  return {
    code: 'undecryptable',
    message: `The stored data of this job cannot be read: ${why}.`,
    provider_status: null,
    // A process that has the key can read it.
    retryable: error.missingKey !== null,
  }
}
