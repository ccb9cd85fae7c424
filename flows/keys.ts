import { hash } from 'node:crypto'

/** The record of a flow; lua/common.lua names what stands behind it. */
export function flowKey(root: string, id: string): string {
  return `${root}:flow:${id}`
}

/** Pub/sub channel on which a flow of a tenant is named that wants attention. */
export function flowsChannel(root: string): string {
  return `${root}:flows:wake`
}

/**
 * The id of a job of a flow: the same whenever it is made, so that what a runner made before it died is found, and made no second
 * time. It begins with the time of the flow, as ids of jobs begin with a time.
 *
 * @param createdAt when the flow was made, Unix ms
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

/** Where the values of a flow belong, for what is encrypted at rest. */
export const sealedPlaces = { output: 'flow output', value: (step: number) => `flow value ${step}` }
