import type { ProviderAnswer } from '../providers/provider.ts'
import { createThrottlePause } from './throttle-pause.ts'

/** Fills in how long jobs of the cheaper tier wait after a call for which that tier had no capacity. */
export type CapacityBackOff = (answer: ProviderAnswer, isFlex: boolean) => ProviderAnswer

/**
 * One lane's back-off of the cheaper tier of service (`service_tier: flex`): a second after the first call without
 * capacity, twice as long after each further one, up to a minute. An answer of that tier resets it. Calls at other
 * tiers do not wait for it and do not change it: for them, the same answer only says that the provider is busy.
 *
 * @param now milliseconds of any clock that does not go back
 */
export function createCapacityBackOff(now: () => number): CapacityBackOff {
  const pause = createThrottlePause(now)
  return (answer, isFlex) => {
    if (answer.ok) return isFlex ? pause(answer) : answer
    if (answer.cause !== 'capacity') return answer
    if (!isFlex) return { ...answer, cause: 'overloaded' }
    const { feedback } = pause({ ...answer, class: 'throttled' })
    return { ...answer, feedback }
  }
}
