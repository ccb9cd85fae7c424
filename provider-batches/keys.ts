/**
 * The provider batches of a lane in Redis, all under `<prefix>:{l:<lane>}:batches`, whose hash tag is the lane's:
 * - `:lines`: hash, the jobs that wait for a batch: `<id>-<entry number> <tenant>` to what is known of them.
 * - `:waiting:<class>`: sorted sets of the same by their turn, one for each class of jobs that may share a batch.
 * - `:since`: hash, since when each class has jobs that wait.
 * - `:leave`, `:delayed`: sorted sets of the same by when they leave at the latest, and by when they may go.
 * - `:turns`: hash, the turns of the tenants.
 * - `:open`, `:ended`: sorted sets of batches by creation and by end.
 * - `:batch:<id>`, `:batch:<id>:lines`: hashes, a batch, and those of its lines whose jobs wait for it.
 * - `:hold`: string, no batch is made before this time.
 * - `:turnarounds`: list, how long the latest batches took.
 * - `:lease`: string, the token of the worker that works for the lane.
 */
export function batchesRoot(prefix: string, lane: string): string {
  return `${prefix}:{l:${lane}}:batches`
}

/** The set of lanes with provider batches, or with jobs that wait for one. */
export function batchLanesKey(prefix: string): string {
  return `${prefix}:provider-batch-lanes`
}

/** Pub/sub channel that names a lane with jobs that wait for a provider batch. */
export function providerBatchChannel(prefix: string): string {
  return `${prefix}:provider-batches:wake`
}
