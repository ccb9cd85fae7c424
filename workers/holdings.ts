import type { Lock } from '../jobs/leases.ts'

/** Something that this process holds in the store while it renews it. It is a text, because threads share it. */
export type Holding = string & { readonly kind: unique symbol }

/** No name, id or token contains it. */
const SEPARATOR = '\n'

const toHolding = (...parts: string[]) => parts.join(SEPARATOR) as Holding
/** The holdings of a lock of a queue entry, of a place in a tenant's outbox, and of a permit. */
export const lockHolding = (lane: string, { entry, token }: Lock) => toHolding('lock', lane, entry, token)
export const placeHolding = (tenant: string, entry: string) => toHolding('place', tenant, entry)
export const permitHolding = (lane: string, permit: string) => toHolding('permit', lane, permit)

/** `owner`: the lane of a lock or permit, or the tenant of a place. `name`: the entry or the permit. */
export function readHolding(one: Holding): {
  kind: 'lock' | 'place' | 'permit'
  owner: string
  name: string
  token: string
} {
  const [kind, owner, name, token = ''] = one.split(SEPARATOR) as ['lock', string, string, string?]
  return { kind, owner, name, token }
}

/**
 * What a process holds, in memory that its threads share. So the thread that renews it sees each change at once and
 * without a message, even if the main loop blocks right afterwards. Only one thread writes. A call takes two slots
 * while it runs.
 */
export type Holdings = {
  /** For another thread, which reads it. */
  memory: SharedArrayBuffer
  /** Returns the slot of the holding; null: no slot is free, or the holding is too long for one. */
  add(one: Holding): number | null
  remove(slot: number): void
  /** What is held now. It may miss what is added or removed during the call. */
  list(): Holding[]
}

const SLOTS = 4096
/** Longest holding in a slot. Longer ones, with long names of models, get none. */
const TEXT_BYTES = 248
/** Per slot: how often it was filled, and how many bytes are in it (0: it is free). */
const HEAD_BYTES = 8
const SLOT_BYTES = HEAD_BYTES + TEXT_BYTES
/** Before the slots: how many of them were ever used. */
const START_BYTES = 8

/** @param memory of the thread that writes; without it, this thread writes */
export function createHoldings(
  memory: SharedArrayBuffer = new SharedArrayBuffer(START_BYTES + SLOTS * SLOT_BYTES),
): Holdings {
  const numbers = new Int32Array(memory)
  const bytes = Buffer.from(memory)
  const free: number[] = []

  const headOf = (slot: number) => (START_BYTES + slot * SLOT_BYTES) / Int32Array.BYTES_PER_ELEMENT
  const textOf = (slot: number) => START_BYTES + slot * SLOT_BYTES + HEAD_BYTES

  function takeSlot(): number | null {
    const known = free.pop()
    if (known !== undefined) return known
    const used = Atomics.load(numbers, 0)
    if (used === SLOTS) return null
    Atomics.store(numbers, 0, used + 1)
    return used
  }

  /** Null: the slot is free, or is being filled again. */
  function read(slot: number): Holding | null {
    const head = headOf(slot)
    const filled = Atomics.load(numbers, head)
    const length = Atomics.load(numbers, head + 1)
    if (length === 0) return null
    const text = bytes.toString('utf8', textOf(slot), textOf(slot) + length)
    const isWhole = Atomics.load(numbers, head) === filled && Atomics.load(numbers, head + 1) === length
    return isWhole ? (text as Holding) : null
  }

  return {
    memory,
    add(one) {
      const length = Buffer.byteLength(one)
      const slot = length <= TEXT_BYTES ? takeSlot() : null
      if (slot === null) return null
      const head = headOf(slot)
      Atomics.add(numbers, head, 1)
      bytes.write(one, textOf(slot))
      Atomics.store(numbers, head + 1, length)
      return slot
    },
    remove(slot) {
      Atomics.store(numbers, headOf(slot) + 1, 0)
      free.push(slot)
    },
    list() {
      const used = Atomics.load(numbers, 0)
      const held: Holding[] = []
      for (let slot = 0; slot < used; slot++) {
        const one = read(slot)
        if (one !== null) held.push(one)
      }
      return held
    },
  }
}
