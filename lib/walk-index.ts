import type { RedisClient } from './redis.ts'

/** An entry of an index: an id, and its score as Redis writes it. */
export type IndexEntry = { id: string; score: string }

/**
 * Reads a sorted set of ids by creation time, a block at a time. Entries with the same score come in the order of their ids. Each block
 * begins after the last entry of the previous one, so entries may be added and removed meanwhile: no entry that stays is skipped or
 * returned twice.
 *
 * @param after the entry to begin after; it need not be in the index
 * @param block maximum of entries in one round trip; no returned block is empty
 */
export async function* walkIndex(
  redis: RedisClient,
  index: string,
  { order, after, block }: { order: 'asc' | 'desc'; after: IndexEntry | null; block: number },
): AsyncGenerator<IndexEntry[]> {
  let last = after
  // How many entries with the score of the last one came before it and fill whole blocks.
  let offset = 0
  for (;;) {
    const flat = await readBlock(redis, index, { order, from: last?.score, offset, block })
    const from = last
    const entries = toEntries(flat).filter((entry) => from === null || isBehind(entry, from, order))
    if (entries.length > 0) {
      offset = 0
      last = entries.at(-1)!
      yield entries
    } else offset += block
    if (flat.length < block * 2) return
  }
}

function readBlock(
  redis: RedisClient,
  index: string,
  { order, from, offset, block }: { order: 'asc' | 'desc'; from?: string; offset: number; block: number },
): Promise<string[]> {
  return order === 'asc'
    ? redis.zrangebyscore(index, from ?? '-inf', '+inf', 'WITHSCORES', 'LIMIT', offset, block)
    : redis.zrevrangebyscore(index, from ?? '+inf', '-inf', 'WITHSCORES', 'LIMIT', offset, block)
}

function toEntries(flat: readonly string[]): IndexEntry[] {
  const entries: IndexEntry[] = []
  for (let at = 0; at + 1 < flat.length; at += 2) entries.push({ id: flat[at]!, score: flat[at + 1]! })
  return entries
}

/** The page begins with the score of the last entry: some entries with this score were returned before. */
function isBehind(entry: IndexEntry, last: IndexEntry, order: 'asc' | 'desc'): boolean {
  if (entry.score !== last.score) return true
  return order === 'asc' ? entry.id > last.id : entry.id < last.id
}
