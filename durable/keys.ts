import { hash } from 'node:crypto'
import type { SealedPlace } from '../lib/sealer.ts'

/** Replaces the id of a run in keys, because ids may hold any printable character. */
export function runDigest(id: string): string {
  return hash('sha256', id, 'hex').slice(0, 32)
}

/** The hash of a run. Values of its signals stand at `<key>:values`. */
export function runKey(root: string, id: string): string {
  return `${root}:durable:${runDigest(id)}`
}

/** Pub/sub channel of a run; the message is the name of the step whose signal came, or nothing where the run is gone. */
export function runChannel(root: string, id: string): string {
  return `${root}:live:durable:${runDigest(id)}`
}

/** Where the value of a signal belongs, for what is encrypted at rest. */
export function signalPlace(root: string, id: string, step: string): SealedPlace {
  return { root, purpose: 'signal', id: `${id}\n${step}` }
}
