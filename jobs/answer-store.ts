import type { RedisClient } from '../lib/redis.ts'
import { type JobRecord, textOf } from './record.ts'

/** How many large answers a process reads at the same time. */
const LARGE_AT_ONCE = 4

/** Which answer a record refers to. See `Answers` in lua/common.lua. */
export type AnswerName = { hash: string; by: string }

/**
 * The answers that completed jobs refer to, as they are stored. `root` is the tenant's. Jobs that ask for the same
 * large answer at the same time share one reading. Few large answers are read at once, because what Redis sends stays
 * in its memory until the reader takes it.
 */
export type AnswerStore = {
  /** In the order of the names, mostly in one round trip; null for answers that are gone. */
  read(root: string, names: readonly AnswerName[]): Promise<(Buffer | null)[]>
  /** How many bytes each of them takes in the store; null for answers that are gone. */
  sizes(root: string, names: readonly AnswerName[]): Promise<(number | null)[]>
  /**
   * Completed records with their answers as `result`. Null for a record whose answer is gone, because the record was
   * deleted meanwhile.
   */
  complete(root: string, records: readonly (JobRecord | null)[]): Promise<(JobRecord | null)[]>
}

/** The answer that a record refers to; null: it has none, or contains it. */
export function answerOf(record: JobRecord): AnswerName | null {
  if (record.has('result')) return null
  const by = textOf(record, 'answer')
  return by === null ? null : { hash: textOf(record, 'hash')!, by }
}

export function createAnswerStore({ redis }: { redis: RedisClient }): AnswerStore {
  const reading = new Map<string, Promise<Buffer | null>>()
  const waiting: (() => void)[] = []
  let busy = 0

  /** The place of the newest answer to this content, then the place of older ones. */
  const placesOf = (root: string, { hash, by }: AnswerName) => [
    `${root}:answer:${hash}`,
    `${root}:answer:${hash}:${by}`,
  ]

  /**
   * Reads each answer at the first of its places that has it. An answer only ever moves from the first place to the
   * second.
   */
  async function locate<T>(
    root: string,
    names: readonly AnswerName[],
    read: (key: string, name: AnswerName) => Promise<T | null>,
  ): Promise<(T | null)[]> {
    const newest = await Promise.all(names.map((name) => read(placesOf(root, name)[0]!, name)))
    return Promise.all(names.map((name, at) => newest[at] ?? read(placesOf(root, name)[1]!, name)))
  }

  async function readText(
    key: string,
    { by }: AnswerName,
  ): Promise<{ key: string; text: Buffer | null } | null> {
    const [found, text] = await redis.hmgetBuffer(key, 'by', 'text')
    return found?.toString() === by ? { key, text: text ?? null } : null
  }

  async function readLargeAt(key: string, { by }: AnswerName): Promise<Buffer | null> {
    const [found, large] = await redis.hmgetBuffer(key, 'by', 'large')
    return found?.toString() === by ? (large ?? null) : null
  }

  async function readLarge(root: string, name: AnswerName): Promise<Buffer | null> {
    if (busy >= LARGE_AT_ONCE) await new Promise<void>((resolve) => waiting.push(resolve))
    else busy++
    try {
      const [large = null] = await locate(root, [name], readLargeAt)
      return large
    } finally {
      const next = waiting.shift()
      if (next) next()
      else busy--
    }
  }

  function shareLarge(root: string, name: AnswerName): Promise<Buffer | null> {
    const known = `${root} ${name.hash} ${name.by}`
    let read = reading.get(known)
    if (!read) {
      read = readLarge(root, name).finally(() => reading.delete(known))
      reading.set(known, read)
    }
    return read
  }

  async function read(root: string, names: readonly AnswerName[]): Promise<(Buffer | null)[]> {
    const found = await locate(root, names, readText)
    return Promise.all(
      names.map((name, at) => {
        const one = found[at] ?? null
        return one === null ? null : (one.text ?? shareLarge(root, name))
      }),
    )
  }

  async function sizeAt(key: string, { by }: AnswerName): Promise<number | null> {
    const [found, text, large] = await Promise.all([
      redis.hget(key, 'by'),
      redis.hstrlen(key, 'text'),
      redis.hstrlen(key, 'large'),
    ])
    return found === by ? text + large : null
  }

  return {
    read,
    sizes: (root, names) => locate(root, names, sizeAt),
    async complete(root, records) {
      const names = records.map((record) => record && answerOf(record))
      const wanted = names.filter((name) => name !== null)
      if (wanted.length === 0) return [...records]
      const answers = (await read(root, wanted)).values()
      return records.map((record, at) => {
        if (!names[at]) return record
        const answer = answers.next().value!
        return answer && new Map([...record!, ['result', answer]])
      })
    },
  }
}
