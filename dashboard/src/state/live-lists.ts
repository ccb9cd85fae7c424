/**
 * Replaces entries of a list by those of the overview, which are fresher and have an estimated end. Open entries come first;
 * otherwise the order stays.
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
