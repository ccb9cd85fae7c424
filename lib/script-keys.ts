/** How many keys `scriptKeys` names. */
export const SCRIPT_KEYS = 2

/**
 * The keys to declare for a script that works on keys made of this root: the root, and another of its slot, neither of
 * which ever exists. While Redis Cluster moves a slot, a script with one key that is not there is sent to the slot's new
 * node, where it would miss all that has not come yet. One with two is told TRYAGAIN until the slot has moved as a whole
 * (`getNodeByQuery` in Redis' cluster.c), which clients of it wait out.
 *
 * @param following the second key also tells a script whether somebody follows the tenant's events (event-references.lua)
 */
export function scriptKeys(root: string, following: FollowedKind = 'nothing'): [string, string] {
  return [root, root + SECOND_KEYS[following]]
}

/** What of a tenant's events somebody follows: those that its jobs have but chunks of streams, or these as well. */
export type FollowedKind = 'nothing' | 'events' | 'deltas'

const SECOND_KEYS = { nothing: ':', events: ':followed', deltas: ':followed:deltas' }
