/** How many keys `scriptKeys` names. */
export const SCRIPT_KEYS = 2

/**
 * The keys to declare for a script that works on keys made of this root: the root, and another key of its slot. Neither
 * ever exists. While Redis Cluster moves a slot, it sends a script with one missing key to the slot's new node, where
 * the script would miss all keys that have not arrived yet. A script with two missing keys gets TRYAGAIN until the whole
 * slot has moved (`getNodeByQuery` in Redis' cluster.c); clients wait for that.
 *
 * @param following the second key also tells a script whether somebody follows the tenant's events (event-references.lua),
 * @param keepsHistory and whether ended jobs are to be copied to the history
 */
export function scriptKeys(
  root: string,
  following: FollowedKind = 'nothing',
  keepsHistory = false,
): [string, string] {
  return [root, root + SECOND_KEYS[following] + (keepsHistory ? ':history' : '')]
}

/** What of a tenant's events somebody follows: those that its jobs have but chunks of streams, or these as well. */
export type FollowedKind = 'nothing' | 'events' | 'deltas'

const SECOND_KEYS = { nothing: ':', events: ':followed', deltas: ':followed:deltas' }
