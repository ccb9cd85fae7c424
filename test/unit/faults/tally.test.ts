import { expect, test } from 'vitest'
import { findFlaws } from '../../faults/subscriber.ts'
import { type Evidence, p99, recoveries, tallyUp } from '../../faults/tally.ts'

const HASH = '0123456789abcdef'
const result = { choices: [{ message: { content: 'Answer 01234567: the queue' } }] }
const bill = (count: number) => Array.from({ length: count }, () => ({ prompt_hash: HASH }))
const at = (seconds: number) => new Date(seconds * 1000).toISOString()

function evidence(members: Partial<Evidence> = {}): Evidence {
  return {
    id: 'job_1',
    hash: HASH,
    job: { status: 'completed', error: null, result },
    attempts: [{ started_at: at(0), outcome: 'completed', ambiguous: false }],
    ...members,
  }
}

test('a job that was paid once and completed is sound', () => {
  expect(tallyUp([evidence()], bill(1))).toMatchObject({
    jobs: 1,
    lost: new Map(),
    repeated: new Map(),
    flagged: 0,
    paidAgain: 0,
    mistaken: [],
  })
})

test('a job without a terminal state is lost, and so is one that does not exist', () => {
  const running = evidence({ job: { status: 'running', error: null, result: null } })
  const unknown = evidence({ id: 'job_2', job: null })
  const lost = new Map([
    ['job_1', 'running'],
    ['job_2', 'unknown'],
  ])
  expect(tallyUp([running, unknown], bill(1)).lost).toEqual(lost)
})

test('a call that was paid again counts as repeated unless an attempt is flagged for it', () => {
  const lost = { started_at: at(0), outcome: 'lost', ambiguous: true } as const
  const flagged = evidence({ attempts: [lost, ...evidence().attempts] })
  expect(tallyUp([flagged], bill(2))).toMatchObject({ repeated: new Map(), flagged: 1, paidAgain: 1 })
  expect(tallyUp([flagged], bill(4)).repeated).toEqual(new Map([['job_1', 2]]))
  expect(tallyUp([evidence()], bill(2)).repeated).toEqual(new Map([['job_1', 1]]))
})

test('an answer to another prompt is wrong', () => {
  expect(tallyUp([evidence({ hash: 'f'.repeat(16) })], []).mistaken).toEqual(['job_1'])
})

test('a lost call recovers when it is made again, counted from the kill that ended it', () => {
  const attempts = [
    { started_at: at(10), outcome: 'lost', ambiguous: true },
    { started_at: at(25), outcome: 'completed', ambiguous: false },
  ] as const
  expect(recoveries([evidence({ attempts: [...attempts] })], [5000, 11_000, 20_000])).toEqual([14_000])
  expect(recoveries([evidence()], [5000])).toEqual([])
})

test('the p99 is the smallest value that 99% do not exceed', () => {
  expect(p99(Array.from({ length: 200 }, (_, index) => index + 1))).toBe(198)
  expect(p99([3, 1])).toBe(3)
  expect(p99([])).toBeNull()
})

test('in a stream, a missing event is a gap and one that comes again or late is a repetition', () => {
  expect(findFlaws({ seen: new Map([['job_1', [1, 2, 3]]]) })).toEqual({ gaps: 0, repeats: 0 })
  expect(findFlaws({ seen: new Map([['job_1', [1, 4, 5]]]) })).toEqual({ gaps: 2, repeats: 0 })
  expect(findFlaws({ seen: new Map([['job_1', [1, 2, 2, 3, 1]]]) })).toEqual({ gaps: 0, repeats: 2 })
})
