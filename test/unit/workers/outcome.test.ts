import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { ProviderFailure, ProviderSuccess } from '../../../providers/provider.ts'
import { backoff, decide, judgeAnswer, pauseAfter } from '../../../workers/outcome.ts'

const retry = { base: 500, cap: 60_000 }
const NOW = 1_700_000_000_000
const half = () => 0.5

function failure(members: Partial<ProviderFailure>): ProviderFailure {
  return {
    ok: false,
    class: 'retryable',
    code: 'server_error',
    message: 'It broke.',
    status: 500,
    ambiguous: false,
    input: false,
    feedback: {},
    ...members,
  }
}

describe('decide', () => {
  const fresh = { attempts: 1, maxAttempts: 3 }

  it('retries failures that may pass, after a jittered wait', () => {
    expect(decide(failure({}), fresh, retry, NOW, half)).toEqual({
      kind: 'retry',
      at: NOW + 250,
      reason: 'server_error',
      waitingFor: 'retry_delay',
    })
  })

  it('retries an attempt that took too long', () => {
    const outcome = decide(failure({ class: 'timeout', code: 'timeout' }), fresh, retry, NOW, half)
    expect(outcome).toMatchObject({ kind: 'retry', reason: 'timeout' })
  })

  it.each(['retryable', 'timeout'] as const)(
    'fails a job for good when its last attempt ends as %s',
    (one) => {
      const outcome = decide(failure({ class: one }), { attempts: 3, maxAttempts: 3 }, retry, NOW, half)
      expect(outcome).toEqual({
        kind: 'failed',
        error: { code: 'server_error', message: 'It broke.', provider_status: 500, retryable: true },
      })
    },
  )

  it('fails at once what cannot succeed, however many attempts are left', () => {
    const outcome = decide(failure({ class: 'final', status: 400 }), fresh, retry, NOW, half)
    expect(outcome).toMatchObject({ kind: 'failed', error: { provider_status: 400, retryable: false } })
  })

  it('puts off a job for which its tier had no capacity, however many attempts and lanes there are', () => {
    const miss = failure({
      cause: 'capacity',
      code: 'capacity_exceeded',
      status: 498,
      feedback: { retryAfterMs: 4000 },
    })
    const spent = { attempts: 3, maxAttempts: 3 }
    expect(decide(miss, spent, retry, NOW, half, 'other/lane')).toEqual({
      kind: 'no_capacity',
      at: NOW + 5000,
      reason: 'capacity_exceeded',
      waitingFor: 'retry_delay',
    })
  })

  it('puts a throttled job off until the time that the provider named, without using up an attempt', () => {
    const throttled = failure({ class: 'throttled', code: 'rate_limited', feedback: { retryAfterMs: 7000 } })
    const spent = { attempts: 3, maxAttempts: 3 }
    expect(decide(throttled, spent, retry, NOW, half)).toEqual({
      kind: 'throttled',
      at: NOW + 7000,
      reason: 'rate_limited',
      waitingFor: 'provider_pause',
      throttles: { count: 1, since: NOW },
    })
  })

  it('decides nothing about a call that we aborted', () => {
    expect(decide(failure({ class: 'aborted' }), fresh, retry, NOW, half)).toEqual({ kind: 'released' })
  })

  it('never retries before the Retry-After of the provider', () => {
    fc.assert(
      fc.property(
        fc.nat(3_600_000),
        fc.integer({ min: 1, max: 40 }),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (retryAfterMs, attempts, chance) => {
          const job = { attempts, maxAttempts: 100 }
          const outcome = decide(failure({ feedback: { retryAfterMs } }), job, retry, NOW, () => chance)
          expect(outcome.kind).toBe('retry')
          if (outcome.kind === 'retry') expect(outcome.at).toBeGreaterThanOrEqual(NOW + retryAfterMs)
        },
      ),
    )
  })
})

describe('decide, with another lane to go to', () => {
  const final = (members: Partial<ProviderFailure>) => failure({ class: 'final', ...members })

  it('moves on from a provider that refuses us or has no such endpoint, and not from one that refuses the request', () => {
    const kindOf = (failed: ProviderFailure) =>
      decide(failed, { attempts: 1, maxAttempts: 3 }, retry, NOW, half, 'other/model').kind
    expect(kindOf(final({ status: 401 }))).toBe('rerouted')
    expect(kindOf(final({ status: null, code: 'unsupported_type' }))).toBe('rerouted')
    expect(kindOf(final({ status: 400, code: 'API_KEY_INVALID' }))).toBe('rerouted')
    expect(kindOf(final({ status: 400, cause: 'not_found', code: 'model_decommissioned' }))).toBe('rerouted')
    expect(kindOf(final({ status: null, cause: 'quota' }))).toBe('rerouted')
    expect(kindOf(final({ status: 403, cause: 'filter', input: true }))).toBe('failed')
    expect(kindOf(final({ status: 400, code: 'API_KEY_INVALID', input: true }))).toBe('failed')
    expect(kindOf(final({ status: 400 }))).toBe('failed')
    expect(kindOf(final({ status: null }))).toBe('failed')
  })

  describe('after 429s', () => {
    const throttled = (retryAfterMs?: number) =>
      failure({
        class: 'throttled',
        status: 429,
        feedback: retryAfterMs === undefined ? {} : { retryAfterMs },
      })
    const kindAfter = (
      failed: ProviderFailure,
      count: number,
      spentMs: number,
      next: string | null = 'b/m',
    ) => {
      const throttles = count === 0 ? null : { count, since: NOW - spentMs }
      return decide(failed, { attempts: 1, maxAttempts: 3, throttles }, retry, NOW, half, next).kind
    }

    it('moves on when its waits, past and next, exceed five seconds, known or not', () => {
      expect(kindAfter(throttled(), 1, 4000)).toBe('throttled')
      expect(kindAfter(throttled(), 1, 4001)).toBe('rerouted')
      expect(kindAfter(throttled(1000), 9, 4000)).toBe('throttled')
      expect(kindAfter(throttled(0), 900, 5001)).toBe('rerouted')
      expect(kindAfter(throttled(5001), 0, 0)).toBe('rerouted')
    })

    it('stays if no other lane is left', () => {
      expect(kindAfter(throttled(), 50, 3_600_000, null)).toBe('throttled')
    })
  })
})

describe('backoff', () => {
  it('spreads over the whole of a bound that doubles with each attempt, up to the cap', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 100 }),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (attempt, chance) => {
          const wait = backoff(attempt, retry, 0, () => chance)
          const bound = Math.min(60_000, 500 * 2 ** (attempt - 1))
          expect(wait).toBeGreaterThanOrEqual(0)
          expect(wait).toBeLessThanOrEqual(bound)
          expect(Math.abs(wait - chance * bound)).toBeLessThanOrEqual(0.5)
        },
      ),
    )
  })

  it('is zero at the lower end of its jitter', () => {
    expect(backoff(5, retry, 0, () => 0)).toBe(0)
  })
})

describe('pauseAfter', () => {
  it('is what the provider asked for, even zero', () => {
    expect(pauseAfter(failure({ feedback: { retryAfterMs: 0 } }))).toBe(0)
    expect(pauseAfter(failure({ feedback: { retryAfterMs: 1234 } }))).toBe(1234)
  })

  it('is a second where the provider names no time', () => {
    expect(pauseAfter(failure({}))).toBe(1000)
  })
})

describe('judgeAnswer', () => {
  const success: ProviderSuccess = { ok: true, status: 200, body: {}, usage: null, feedback: {} }

  it('tells the breaker of answers, of server errors and of connections that failed', () => {
    expect(judgeAnswer(success, true)).toBe('ok')
    expect(judgeAnswer(failure({ status: 500 }), true)).toBe('broken')
    expect(judgeAnswer(failure({ status: 529 }), true)).toBe('broken')
    expect(judgeAnswer(failure({ status: null, code: 'connection_error' }), true)).toBe('broken')
  })

  it.each([
    failure({ class: 'throttled', status: 429 }),
    failure({ class: 'final', status: 400 }),
    failure({ class: 'final', status: 429, code: 'insufficient_quota' }),
    failure({ status: 408 }),
    failure({ status: 409 }),
    failure({ status: 200, code: 'invalid_answer' }),
    failure({ class: 'aborted', status: null }),
  ])('tells it nothing of $class $status', (answer) => {
    expect(judgeAnswer(answer, true)).toBeNull()
  })

  it('counts a time-out only when the call had all the time that its lane gives', () => {
    const timeout = failure({ class: 'timeout', status: null, code: 'timeout' })
    expect(judgeAnswer(timeout, true)).toBe('broken')
    expect(judgeAnswer(timeout, false)).toBeNull()
  })
})
