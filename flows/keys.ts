import { hash } from 'node:crypto'

/** The key of a flow's record. lua/common.lua lists the keys that begin with it. */
export function flowKey(root: string, id: string): string {
  return `${root}:flow:${id}`
}

/** The pub/sub channel on which scripts name a tenant's flow that is due. */
export function flowsChannel(root: string): string {
  return `${root}:flows:wake`
}

/**
 * The id of a flow's job. It follows from its arguments, so a job that a runner created before it died is found and not created again.
 * Like all job ids it begins with a time, here that of the flow's creation.
 *
 * @param flow.createdAt when the flow was created, Unix ms
 */
export function flowJobId(
  flow: { id: string; createdAt: number },
  step: number,
  element: number,
  attempt: number,
): string {
  const digest = hash('sha256', `${flow.id} ${step} ${element} ${attempt}`)
  return `job_${flow.createdAt.toString(16).padStart(12, '0')}7${digest.slice(0, 19)}`
}

/** Names for a flow's encrypted values, which bind each ciphertext to its place. */
export const sealedPlaces = { output: 'flow output', value: (step: number) => `flow value ${step}` }
