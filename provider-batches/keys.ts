/**
 * The provider batches of a lane in Redis. All keys begin with `<prefix>:{l:<lane>}:batches`, and have the lane's hash tag:
 * - `:lines`: hash, the jobs that wait for a batch: `<id>-<entry number> <tenant>` to their details.
 * - `:waiting:<class>`: sorted sets of the same members by turn, one for each class of jobs that may share a batch.
 * - `:since`: hash, the time since when each class has waiting jobs.
 * - `:leave`, `:delayed`: sorted sets of the same members, by the time to leave and by the time before which they do not start.
 * - `:turns`: hash, the turns of the tenants.
 * - `:open`, `:ended`: sorted sets of batches, by creation and by end.
 * - `:batch:<id>`, `:batch:<id>:lines`: hashes, a batch, and those of its lines whose jobs wait for it.
 * - `:hold`: string, the time before which no batch is made.
 * - `:turnarounds`: list, how long the latest batches took.
 * - `:lease`: string, the token of the worker that holds the lane.
 */
export function batchesRoot(prefix: string, lane: string): string {
  return `${prefix}:{l:${lane}}:batches`
}

/** The set of lanes with provider batches, or with jobs that wait for one. */
export function batchLanesKey(prefix: string): string {
  return `${prefix}:provider-batch-lanes`
}

/** Pub/sub channel for lanes with jobs that wait for a provider batch. */
export function providerBatchChannel(prefix: string): string {
  return `${prefix}:provider-batches:wake`
}
