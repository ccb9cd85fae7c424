import { hash } from 'node:crypto'
import type { SealedPlace } from '../lib/sealer.ts'

/** Replaces a run's id in keys, because ids may contain any printable character. */
export function runDigest(id: string): string {
  return hash('sha256', id, 'hex').slice(0, 32)
}

/** The key of a run's hash. The values of its signals are at `<key>:values`. */
export function runKey(root: string, id: string): string {
  return `${root}:durable:${runDigest(id)}`
}

/** The pub/sub channel of a run. The message is the name of the step whose signal came, or '' if the run is gone. */
export function runChannel(root: string, id: string): string {
  return `${root}:live:durable:${runDigest(id)}`
}

/** The place of a signal's encrypted value, to which its ciphertext is bound. */
export function signalPlace(root: string, id: string, step: string): SealedPlace {
  return { root, purpose: 'signal', id: `${id}\n${step}` }
}
