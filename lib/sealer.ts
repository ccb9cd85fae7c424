import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createSecretKey,
  hash,
  hkdfSync,
  type KeyObject,
  randomBytes,
} from 'node:crypto'

/**
 * Authenticated encryption of stored data with AES-256-GCM (NIST SP 800-38D). An envelope is
 *
 *   mark (1)  key id (4)  salt (16)  nonce (12)  owner (16)  ciphertext  tag (16)
 *
 * The owner is the job or file that the content was encrypted for, as a truncated SHA-256, because not even the id of a deleted one may
 * remain in content that it shared. A configured key encrypts nothing itself: HKDF-SHA256 (RFC 5869) derives a key from it and a random
 * salt, for one process and 2^20 messages. Random nonces of 96 bits are safe for 2^32 messages per key (SP 800-38D, 8.3), which a busy
 * service would send within weeks; with derived keys, a configured key has no such limit.
 */

/** The first byte of an envelope. JSON, zstd and vector payloads never begin with it. */
const SEALED_MARK = 2

const KEY_ID_BYTES = 4
const SALT_BYTES = 16
const NONCE_BYTES = 12
const TAG_BYTES = 16
/** Key id and salt: they name the key of an envelope. */
const NAME_END = 1 + KEY_ID_BYTES + SALT_BYTES
const OWNER_BYTES = 16
const OWNER_AT = NAME_END + NONCE_BYTES
const TEXT_AT = OWNER_AT + OWNER_BYTES

const MESSAGES_PER_KEY = 2 ** 20

/** Number of derived keys to remember for reading: one per process and restart that wrote recently. */
const KEYS_KEPT = 1000

/** For the keys of encryption and of digests. */
const ENCRYPTION_INFO = 'sluice aes-256-gcm 1'
const DIGEST_INFO = 'sluice digest 1'

/** A key that became the first one encrypts after this time, ms. By then every process has read the file. */
const SETTLE_MS = 5000

/** The place of a piece of content. It cannot be decrypted for any other place. */
export type SealedPlace = {
  /** The prefix of all keys of its tenant in Redis. */
  root: string
  /** The kind of content. */
  purpose: string
  /** The job or file that it was encrypted for. */
  id: string
  /** Another thing that it must belong to, such as the request that it answers. */
  content?: string
}

/** Stored content that cannot be decrypted. The message names the key by its id and contains nothing of the content. */
export class UnreadableError extends Error {
  override readonly name = 'UnreadableError'
  /** Id of the missing key; null: the key is configured, and the content was not encrypted for this place. */
  readonly missingKey: string | null

  constructor(missingKey: string | null) {
    super(
      missingKey === null
        ? 'what is stored was changed, or is not what was encrypted for this place'
        : `the encryption key ${missingKey} is not configured`,
    )
    this.missingKey = missingKey
  }
}

export type Sealer = {
  /** Encrypts content into an envelope; null: encryption is off. */
  seal(place: SealedPlace, content: Uint8Array | string): Buffer | null
  /** Reverses `seal`, in any process. `id: null` accepts any id. Throws `UnreadableError`. */
  open(place: Omit<SealedPlace, 'id'> & { id: string | null }, envelope: Buffer): Buffer
  /**
   * The stored forms of a digest of content. They are keyed, because a reader of the store could try guesses. The first is the one to write
   * now. The others may have been written before, with older keys or without a key.
   */
  digests(plain: string): [string, ...string[]]
  /** The first bytes of new envelopes: mark and key id. Null: encryption is off. */
  envelopeBegin(): Buffer | null
  /** Replaces the keys, 32 bytes each: the first one encrypts, all decrypt; none: encryption is off. */
  replace(keys: readonly Uint8Array[]): void
}

type Master = { id: string; key: KeyObject; digestKey: KeyObject }
type Derived = { master: Master; name: Buffer; key: KeyObject; left: number }

export function isSealed(stored: Uint8Array): boolean {
  return stored[0] === SEALED_MARK
}

/** The name of a key in envelopes and logs: the first 4 bytes of its SHA-256, in hex. */
export function keyIdOf(key: Uint8Array): string {
  return hash('sha256', key, 'hex').slice(0, KEY_ID_BYTES * 2)
}

/**
 * @param now Unix ms
 * @param messagesPerKey limit of one derived key
 */
export function createSealer(deps: {
  keys: readonly Uint8Array[]
  now: () => number
  messagesPerKey?: number
}): Sealer {
  const { now, messagesPerKey = MESSAGES_PER_KEY } = deps
  let known = deps.keys.map(toMaster)
  let sealing: Master | null = known[0] ?? null
  let next: { master: Master; at: number } | null = null
  let current: Derived | null = null
  const derived = new Map<string, KeyObject>()

  function sealingKey(): Master | null {
    if (next !== null && now() >= next.at) {
      sealing = next.master
      next = null
    }
    return sealing
  }

  function deriveFor(master: Master): Derived {
    if (current === null || current.master !== master || current.left === 0) {
      const salt = randomBytes(SALT_BYTES)
      const name = Buffer.concat([Buffer.of(SEALED_MARK), Buffer.from(master.id, 'hex'), salt])
      current = { master, name, key: derive(master.key, salt, ENCRYPTION_INFO), left: messagesPerKey }
    }
    current.left--
    return current
  }

  function keyOf(envelope: Buffer): KeyObject {
    const name = envelope.toString('latin1', 1, NAME_END)
    const kept = derived.get(name)
    if (kept) return kept
    const id = envelope.toString('hex', 1, 1 + KEY_ID_BYTES)
    const master = known.find((one) => one.id === id)
    if (!master) throw new UnreadableError(id)
    const key = derive(master.key, envelope.subarray(1 + KEY_ID_BYTES, NAME_END), ENCRYPTION_INFO)
    if (derived.size >= KEYS_KEPT) derived.delete(derived.keys().next().value!)
    derived.set(name, key)
    return key
  }

  return {
    seal(place, content) {
      const master = sealingKey()
      if (master === null) return null
      const { key, name } = deriveFor(master)
      const nonce = randomBytes(NONCE_BYTES)
      const owner = ownerOf(place.id)
      const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES })
      cipher.setAAD(describePlace(place, owner))
      const text = cipher.update(content)
      cipher.final()
      return Buffer.concat([name, nonce, owner, text, cipher.getAuthTag()])
    },

    open(place, envelope) {
      if (!isSealed(envelope) || envelope.length < TEXT_AT + TAG_BYTES) throw new UnreadableError(null)
      const key = keyOf(envelope)
      const owner = envelope.subarray(OWNER_AT, TEXT_AT)
      if (place.id !== null && !ownerOf(place.id).equals(owner)) throw new UnreadableError(null)
      const nonce = envelope.subarray(NAME_END, OWNER_AT)
      const end = envelope.length - TAG_BYTES
      const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES })
      decipher.setAAD(describePlace(place, owner)).setAuthTag(envelope.subarray(end))
      const content = decipher.update(envelope.subarray(TEXT_AT, end))
      try {
        decipher.final()
      } catch {
        throw new UnreadableError(null)
      }
      return content
    },

    digests(plain) {
      const master = sealingKey()
      const first = master === null ? plain : digestBy(master, plain)
      const others = known.filter((one) => one !== master).map((one) => digestBy(one, plain))
      return master === null ? [first, ...others] : [first, ...others, plain]
    },

    envelopeBegin() {
      const master = sealingKey()
      return master && Buffer.concat([Buffer.of(SEALED_MARK), Buffer.from(master.id, 'hex')])
    },

    replace(keys) {
      const before = sealingKey()
      known = keys.map(toMaster)
      derived.clear()
      const first = known[0] ?? null
      const same = known.find((one) => one.id === before?.id) ?? null
      // The previous key encrypts a while longer, so that other processes get nothing that they cannot read yet.
      const mayWait = first !== null && (before === null || same !== null)
      sealing = mayWait ? same : first
      if (!mayWait || first.id === same?.id) next = null
      else next = { master: first, at: next?.master.id === first.id ? next.at : now() + SETTLE_MS }
      if (current !== null && current.master !== sealing) current = null
    },
  }
}

function toMaster(bytes: Uint8Array): Master {
  const key = createSecretKey(bytes)
  return { id: keyIdOf(bytes), key, digestKey: derive(key, Buffer.alloc(0), DIGEST_INFO) }
}

function derive(key: KeyObject, salt: Uint8Array, info: string): KeyObject {
  return createSecretKey(Buffer.from(hkdfSync('sha256', key, salt, info, 32)))
}

function digestBy({ digestKey }: Master, plain: string): string {
  return createHmac('sha256', digestKey).update(plain).digest('hex')
}

/** The additional authenticated data. JSON keeps the members separate, with any content. */
function describePlace({ root, purpose, content = '' }: Omit<SealedPlace, 'id'>, owner: Buffer): Buffer {
  return Buffer.from(JSON.stringify([root, purpose, owner.toString('hex'), content]))
}

function ownerOf(id: string): Buffer {
  return hash('sha256', id, 'buffer').subarray(0, OWNER_BYTES)
}
