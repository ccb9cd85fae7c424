import { UnmappableError } from './unmappable.ts'

/** What is done with members of a request that a provider has no counterpart for. */
export type OnUnsupported = 'refuse' | 'drop'

/** Keeps account of what a request loses on its way to a provider. */
export type Unsupported = {
  /** Members that were left out, in the order they were met. */
  readonly dropped: string[]
  /** Leaves the member out, or throws `UnmappableError` where the provider is to refuse such requests. */
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
