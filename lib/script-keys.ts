/** The number of keys that `scriptKeys` returns. */
export const SCRIPT_KEYS = 2

/**
 * The keys to declare for a script that uses keys made from this root: the root, and another key of its slot. Neither ever exists. While
 * Redis Cluster moves a slot, it sends a script with one missing key to the slot's new node, where the script would miss all keys that have
 * not arrived yet. A script with two missing keys gets TRYAGAIN until the whole slot has moved (`getNodeByQuery` in Redis' cluster.c);
 * clients wait for that.
 *
 * @param following in the second key: tells a script whether somebody follows the tenant's events (event-references.lua)
 * @param keepsHistory in the second key: whether ended jobs are copied to the history
 */
export function scriptKeys(
  root: string,
  following: FollowedKind = 'nothing',
  keepsHistory = false,
): [string, string] {
  return [root, root + SECOND_KEYS[following] + (keepsHistory ? ':history' : '')]
}

/** Which events of a tenant somebody follows: those of its jobs without chunks of streams, or with them. */
export type FollowedKind = 'nothing' | 'events' | 'deltas'

const SECOND_KEYS = { nothing: ':', events: ':followed', deltas: ':followed:deltas' }
