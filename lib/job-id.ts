import { randomUUID } from 'node:crypto'

/** Maximum of the 12 bits after the time. */
const MOST = 0xfff

/** Creates job ids in the way of `createIds`. */
export function createJobIds(now: () => number): () => string {
  return createIds('job_', now)
}

/** Whether `createIds` may have created this id. Other ids contain no time. */
export function hasIdTime(id: string): boolean {
  return /^[a-z]+[_-][0-9a-f]{12}7[0-9a-f]{19}$/.test(id)
}

/** When the id was created, Unix ms. */
export function readIdTime(id: string): number {
  const at = id.search(/[_-]/) + 1
  return Number.parseInt(id.slice(at, at + 12), 16)
}

/**
 * Creates ids: the prefix and a UUIDv7 without its dashes. They are in order of creation even within a millisecond, because the bits after
 * the time are a counter (RFC 9562, 6.2, method 1), where Node's own are random. Lists sort by id.
 *
 * @param now Unix ms
 */
export function createIds(prefix: string, now: () => number): () => string {
  let time = 0
  let count = 0
  return () => {
    const current = now()
    if (current > time) {
      time = current
      count = 0
    } else if (count < MOST) {
      count++
    } else {
      // More than 4,096 in a millisecond, or the clock went back: the ids run ahead of the clock.
      time++
      count = 0
    }
    // The variant and the random bits. Node buffers them; a system call for each id would cost more than all the rest.
    const random = randomUUID()
    const head = time.toString(16).padStart(12, '0')
    return `${prefix}${head}7${count.toString(16).padStart(3, '0')}${random.slice(19, 23)}${random.slice(24)}`
  }
}
