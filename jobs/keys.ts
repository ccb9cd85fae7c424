/** The root of everything kept for a tenant; its braces are the hash tag that keeps it on one cluster slot. */
export function tenantRoot(prefix: string, tenant: string): string {
  return `${prefix}:{t:${tenant}}`
}

/** How many jobs of the tenant wait for the limits of their fair keys. */
export function parkedKey(root: string): string {
  return `${root}:fair-keys:parked`
}

/** The tenant of a root that `tenantRoot` made. */
export function tenantOf(prefix: string, root: string): string {
  return root.slice(tenantRoot(prefix, '').length - 1, -1)
}

/**
 * What stands behind a group's own key, each in a key of its own. A name may end like one of these; `groupKey` and `group_key` of
 * `lua/common.lua` see to it that this names no other group's part. A further part begins with a character that no name has.
 */
export const GROUP_PARTS = ['jobs', 'events'] as const

/**
 * The hash of a group, by its name: letters, digits and `_ . : -`. The parts of `nightly` stand at `…:nightly:jobs` and so on, so
 * that of a group `nightly:jobs` the last colon becomes `%`, which no name has. All other names stand as they are.
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

/** The set of all tenants that ever had a job; sweepers walk it. */
export function tenantsKey(prefix: string): string {
  return `${prefix}:tenants`
}

/** The set of all lanes that ever had work; workers find lanes of models `"*"` here. */
export function lanesKey(prefix: string): string {
  return `${prefix}:lanes`
}

/** Pub/sub channel on which lanes that got work are named. */
export function wakeChannel(prefix: string): string {
  return `${prefix}:wake`
}

/** Pub/sub channel on which calls to abort are named, as `<tenant> <job id>`. */
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

/** Pub/sub channel of a worker for direct dispatch; its messages are those that direct-dispatch.ts reads. */
export function directChannel(prefix: string, worker: string): string {
  return `${prefix}:express:${worker}`
}

/** Pub/sub channel on which workers announce their lanes for direct dispatch, as `formatOpenLanes` writes it. */
export function openLanesChannel(prefix: string): string {
  return `${prefix}:open`
}

/** Pub/sub channel on which an API process hears how awaited jobs ended. */
export function answersChannel(prefix: string, process: string): string {
  return `${prefix}:answers:${process}`
}

/** Among the lanes that a worker names: it takes jobs that were started for it. Releases before take it for a lane that nobody asks for. */
const TAKES_STARTED = 'started'

/** `<worker> started <lane> <lane> …`, and the worker alone when it takes no more; blanks in names of models are written `%20`. */
export function formatOpenLanes(worker: string, lanes: readonly string[]): string {
  if (lanes.length === 0) return worker
  return [worker, TAKES_STARTED, ...lanes.map((lane) => lane.replaceAll(' ', '%20'))].join(' ')
}

/** What `formatOpenLanes` wrote, of this release or an earlier one. No name has a `%` of its own, and each lane's has a slash. */
export function readOpenLanes(message: string): { worker: string; takesStarted: boolean; lanes: string[] } {
  const [worker = '', ...names] = message.split(' ')
  const lanes = names.filter((name) => name.includes('/')).map((lane) => lane.replaceAll('%20', ' '))
  return { worker, takesStarted: names.includes(TAKES_STARTED), lanes }
}
