import { expect, test } from 'vitest'
import { untilNextPoll } from '../../../provider-batches/runner/run.ts'

const tier = { poll: 3_600_000, leave_before: 60_000 }

test.each([
  ['no job has a deadline', null, 0, 3_600_000],
  ['jobs leave after the next poll', 9_000_000, 0, 3_600_000],
  ['jobs leave before the next poll', 100_000, 0, 100_000],
  ['the cancellation has to be over before the next poll', 100_000, 100_000, 30_000],
  ['all that was due is done', 100_000, 130_000, 3_600_000],
])('a batch is looked at in time where %s', (_case, leaveAt, now, ms) => {
  expect(untilNextPoll({ leaveAt }, tier, now)).toBe(ms)
})
