import { UnmappableError } from './unmappable.ts'

/** What to do with members of a request that a provider has no counterpart for. */
export type OnUnsupported = 'refuse' | 'drop'

/** Records what a request loses on its way to a provider. */
export type Unsupported = {
  /** Names of the members that were left out, in order. */
  readonly dropped: string[]
  /** Leaves the member out. Throws `UnmappableError` where the configuration says to refuse such requests. */
  leaveOut(param: string, reason: string): void
}

export function createUnsupported(policy: OnUnsupported): Unsupported {
  const dropped: string[] = []
  return {
    dropped,
    leaveOut(param, reason) {
      if (policy === 'refuse') throw new UnmappableError(param, reason)
      if (!dropped.includes(param)) dropped.push(param)
    },
  }
}
