import { expect, test } from 'vitest'
import {
  countSteps,
  type DurableStep,
  describeRun,
  type StepStatus,
} from '../../../dashboard/src/state/durable-run.ts'

function run(...steps: [DurableStep['kind'], StepStatus][]) {
  const at = '2026-11-30T12:00:00.000Z'
  const rest = { created_at: at, wake_at: null, sent_at: null, job_id: null }
  return {
    id: 'report 1',
    created_at: at,
    steps: steps.map(([kind, status], number) => ({ name: `step ${number}`, kind, status, ...rest })),
  }
}

test.each([
  [run(['job', 'completed'], ['job', 'waiting'], ['signal', 'waiting']), 'waits for a job'],
  [run(['job', 'waiting'], ['job', 'waiting'], ['sleep', 'waiting']), 'waits for 2 jobs'],
  [run(['sleep', 'waiting'], ['signal', 'waiting']), 'waits for a signal'],
  [run(['signal', 'waiting'], ['signal', 'waiting']), 'waits for 2 signals'],
  [run(['job', 'failed'], ['sleep', 'waiting']), 'sleeps'],
  [run(['job', 'failed'], ['signal', 'timed_out']), 'no step is open'],
  [run(), 'no step is open'],
])('a run is described by what it waits for: %#', (given, label) => {
  expect(describeRun(given).label).toBe(label)
})

test('steps are counted by their states, in one order', () => {
  const { steps } = run(
    ['job', 'failed'],
    ['signal', 'timed_out'],
    ['job', 'completed'],
    ['job', 'completed'],
  )
  expect(countSteps(steps)).toBe('2 completed, 1 failed, 1 timed out')
  expect(countSteps([])).toBe('')
})
