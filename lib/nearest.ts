import { closestMatch } from 'leven'

/** Longer names are not compared, because the work grows with the product of both lengths. */
const LONGEST = 200

/**
 * The candidate that is most similar to the name, or null if none is close: at most a third of its characters may differ. For messages that
 * say "did you mean".
 */
export function findNearest(asked: string, candidates: readonly string[]): string | null {
  if (asked.length > LONGEST) return null
  const lower = asked.toLowerCase()
  const named = new Map(candidates.map((candidate) => [candidate.toLowerCase(), candidate]))
  const maxDistance = Math.max(1, Math.floor(asked.length / 3))
  const found = closestMatch(lower, [...named.keys()], { maxDistance })
  return found === undefined ? null : named.get(found)!
}
