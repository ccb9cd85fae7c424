import { randomUUID } from 'node:crypto'

/** What the 12 bits behind the time can count to. */
const MOST = 0xfff

/** Makes job ids, as `createIds` does. */
export function createJobIds(now: () => number): () => string {
  return createIds('job_', now)
}

/** Whether `createIds` may have made this: others tell no time. */
export function hasIdTime(id: string): boolean {
  return /^[a-z]+[_-][0-9a-f]{12}7[0-9a-f]{19}$/.test(id)
}

/** When the id was made, Unix ms. */
export function readIdTime(id: string): number {
  const at = id.search(/[_-]/) + 1
  return Number.parseInt(id.slice(at, at + 12), 16)
}

/**
 * Makes ids: the prefix and a UUIDv7 without its dashes, in the order they were made also within a millisecond: the
 * bits behind the time count (RFC 9562, 6.2, method 1), where Node's own are random there. Lists sort by id.
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
      // More than 4,096 in a millisecond, or a clock that fell back: the ids run before the clock.
      time++
      count = 0
    }
    // The variant and the random bits. Node keeps a stock of them: a system call for each would cost more than the rest.
    const random = randomUUID()
    const head = time.toString(16).padStart(12, '0')
    return `${prefix}${head}7${count.toString(16).padStart(3, '0')}${random.slice(19, 23)}${random.slice(24)}`
  }
}
