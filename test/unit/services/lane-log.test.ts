import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import type { LaneState, ServiceTier } from '../../../ratelimit/lane-state.ts'
import { createLaneLog } from '../../../services/lane-log.ts'
import { until } from '../../helpers/store.ts'

type State = Pick<LaneState, 'pausedUntil' | 'pausedReason' | 'breaker' | 'tiers'>

const nobody = { heldTenants: [], triedTenants: [] }
const closed = { state: 'closed', failures: 0, openUntil: null, ...nobody } as const
const open: State = { pausedUntil: null, pausedReason: null, breaker: closed, tiers: [] }
const paused: State = { ...open, pausedUntil: Date.UTC(2026, 10, 24), pausedReason: 'rate_limit_exceeded' }
const broken: State = {
  ...open,
  pausedUntil: Date.UTC(2026, 10, 24),
  pausedReason: 'breaker_open',
  breaker: { state: 'open', failures: 5, openUntil: Date.UTC(2026, 10, 24), ...nobody },
}
const halfOpen: State = { ...open, breaker: { state: 'half_open', failures: 5, openUntil: null, ...nobody } }

/** A lane in a given state, and the lines that were logged about it. */
function openLog(first: State | Error) {
  const said: [object, string][] = []
  let state: State | Error | null = first
  let looks = 0
  const laneLog = createLaneLog({
    async read() {
      looks++
      if (state instanceof Error) throw state
      return state
    },
    log: { info: (line: object, message: string) => void said.push([line, message]), debug() {} },
    lookMs: 2,
  })
  onTestFinished(() => laneLog.close())
  return {
    said,
    note: (tier?: ServiceTier) => laneLog.note('sim/chat', tier),
    async turn(next: State | Error | null) {
      state = next
      const since = looks
      await until(() => looks > since + 1)
    },
  }
}

const about = { lane: 'sim/chat', until: '2026-11-24T00:00:00.000Z' }

test('a pause is logged once, and its end', async () => {
  const { said, note, turn } = openLog(paused)
  note()
  note()
  await turn(paused)
  expect(said).toEqual([[{ ...about, reason: 'rate_limit_exceeded' }, 'lane paused']])
  const before = said.length
  note()
  await turn(paused)
  expect(said).toHaveLength(before)
})

test('a breaker is closed when a call was answered, not when it is tried', async () => {
  const { said, note, turn } = openLog(broken)
  note()
  await turn(broken)
  await turn(halfOpen)
  await turn(broken)
  expect(said).toEqual([[about, 'breaker opened']])
})

test.each([
  ['a breaker', broken, 'breaker opened', 'breaker closed'],
  ['a pause', paused, 'lane paused', 'lane open again'],
])('the end of %s is logged', async (_name, state, begin, end) => {
  const { said, note, turn } = openLog(state)
  note()
  await turn(state)
  turn(open).catch(() => {}) // Nobody looks again once it is open.
  await until(() => said.length === 2)
  expect(said.map(([, message]) => message)).toEqual([begin, end])
  expect(said[1]![0]).toEqual({ lane: 'sim/chat' })
})

test('a tier is logged by its name, separate from the lane', async () => {
  const flex = { name: 'flex', ...paused, speed: 1 }
  const { said, note, turn } = openLog({ ...open, tiers: [flex] })
  note('flex')
  note()
  await turn({ ...open, tiers: [flex] })
  expect(said).toEqual([[{ ...about, tier: 'flex', reason: 'rate_limit_exceeded' }, 'lane paused']])
})

test('a store that does not answer is asked again, and a lane that is not configured any more is dropped', async () => {
  const { said, note, turn } = openLog(new Error('away'))
  note()
  await turn(paused)
  await until(() => said.length === 1)
  turn(null).catch(() => {})
  await until(() => said.length === 2)
  expect(said.map(([, message]) => message)).toEqual(['lane paused', 'lane open again'])
})

test('a look under way when it closes is the last one', async () => {
  const answer = Promise.withResolvers<State>()
  let looks = 0
  const laneLog = createLaneLog({
    async read() {
      looks++
      return answer.promise
    },
    log: { info() {}, debug() {} },
    lookMs: 1,
  })
  laneLog.note('sim/chat')
  laneLog.close()
  answer.resolve(paused)
  await sleep(20)
  expect(looks).toBe(1)
})
