/** The prefix of all keys of a tenant. Its braces are the hash tag that keeps them in one slot of a cluster. */
export function tenantRoot(prefix: string, tenant: string): string {
  return `${prefix}:{t:${tenant}}`
}

/** Key: how many jobs of the tenant wait for the limits of their fair keys. */
export function parkedKey(root: string): string {
  return `${root}:fair-keys:parked`
}

/** The tenant of a root that `tenantRoot` made. */
export function tenantOf(prefix: string, root: string): string {
  return root.slice(tenantRoot(prefix, '').length - 1, -1)
}

/**
 * The parts of a group that have keys of their own, which end with these names. The name of another group may end in
 * the same way. `groupKey` and `group_key` of `lua/common.lua` make sure that its key is not such a part. A new part
 * must begin with a character that no name contains.
 */
export const GROUP_PARTS = ['jobs', 'events'] as const

/**
 * The key of a group's hash. A name consists of letters, digits and `_ . : -`. For example, the parts of `nightly` are
 * at `…:nightly:jobs` and so on. So in the key of a group `nightly:jobs` the last colon is replaced by `%`, which no
 * name contains. Other names are not changed.
 */
export function groupKey(root: string, group: string): string {
  const colon = group.lastIndexOf(':')
  const isLikePart = colon >= 0 && (GROUP_PARTS as readonly string[]).includes(group.slice(colon + 1))
  return `${root}:group:${isLikePart ? `${group.slice(0, colon)}%${group.slice(colon + 1)}` : group}`
}

/** Sorted set: jobs of a schedule by their creation. Scripts of `schedules/lua` write it. */
export function scheduleJobsKey(root: string, schedule: string): string {
  return `${root}:schedule:${schedule}:jobs`
}

/** The set of all tenants that ever had a job; the maintainer walks it. */
export function tenantsKey(prefix: string): string {
  return `${prefix}:tenants`
}

/** The set of all lanes that had work; workers find lanes of models `"*"` here. */
export function lanesKey(prefix: string): string {
  return `${prefix}:lanes`
}

/** Pub/sub channel that names lanes which got work. */
export function wakeChannel(prefix: string): string {
  return `${prefix}:wake`
}

/** Pub/sub channel that names calls to abort, as `<tenant> <job id>`. */
export function abortChannel(prefix: string): string {
  return `${prefix}:abort`
}

/** Pub/sub channel of one job's events; the message is the newest `seq`. */
export function jobChannel(root: string, id: string): string {
  return `${root}:live:${id}`
}

/** Pub/sub channel of a group's events; the message is the id of the job. */
export function groupChannel(root: string, group: string): string {
  return `${root}:live:group:${group}`
}

/** Pub/sub channel that announces a webhook delivery of a tenant. */
export function webhookChannel(root: string): string {
  return `${root}:webhooks:wake`
}

/** Pub/sub channel of a worker for direct dispatch; direct-dispatch.ts reads its messages. */
export function directChannel(prefix: string, worker: string): string {
  return `${prefix}:express:${worker}`
}

/** Pub/sub channel on which workers announce their lanes for direct dispatch, in the form of `formatOpenLanes`. */
export function openLanesChannel(prefix: string): string {
  return `${prefix}:open`
}

/** Pub/sub channel on which an API process hears how awaited jobs ended. */
export function answersChannel(prefix: string, process: string): string {
  return `${prefix}:answers:${process}`
}

/**
 * A worker that takes jobs that were started for it puts this among its lanes. To earlier releases it is a lane that no
 * job asks for.
 */
const TAKES_STARTED = 'started'

/**
 * `<worker> started <lane> <lane> …`, or only the worker if it takes no more jobs. Blanks in names of models become `%20`.
 */
export function formatOpenLanes(worker: string, lanes: readonly string[]): string {
  if (lanes.length === 0) return worker
  return [worker, TAKES_STARTED, ...lanes.map((lane) => lane.replaceAll(' ', '%20'))].join(' ')
}

/**
 * Reads what `formatOpenLanes` wrote, in this release or an earlier one. No name contains a `%`, and each lane's
 * contains a slash.
 */
export function readOpenLanes(message: string): { worker: string; takesStarted: boolean; lanes: string[] } {
  const [worker = '', ...names] = message.split(' ')
  const lanes = names.filter((name) => name.includes('/')).map((lane) => lane.replaceAll('%20', ' '))
  return { worker, takesStarted: names.includes(TAKES_STARTED), lanes }
}
