/**
 * Entries of a list as they stand now: those that the overview has are fresher there, and say when they will be done. Open ones
 * come first; else they keep their order.
 *
 * @param live.known entries of the overview
 */
export function mergeLive<Entry extends { estimated_finish_at: string | null }>(
  entries: readonly Entry[],
  live: {
    known: readonly Entry[]
    identify: (entry: Entry) => string
    isOpen: (entry: Entry) => boolean
  },
): Entry[] {
  const { known, identify, isOpen } = live
  const fresher = new Map(known.map((entry) => [identify(entry), entry]))
  return entries
    .map((entry) => fresher.get(identify(entry)) ?? { ...entry, estimated_finish_at: null })
    .sort((one, other) => Number(isOpen(other)) - Number(isOpen(one)))
}
