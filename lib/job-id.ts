import { randomBytes } from 'node:crypto'

/** What the 12 bits behind the time can count to. */
const MOST = 0xfff

/** Makes job ids, as `createIds` does. */
export function createJobIds(now: () => number): () => string {
  return createIds('job_', now)
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
      // More than 4,096 in a millisecond, or a clock that fell back: the ids run ahead of it.
      time++
      count = 0
    }
    const random = randomBytes(8)
    random[0] = (random[0]! & 0x3f) | 0x80
    const head = time.toString(16).padStart(12, '0')
    return `${prefix}${head}7${count.toString(16).padStart(3, '0')}${random.toString('hex')}`
  }
}
