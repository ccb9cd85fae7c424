import { describe, expect, test } from 'vitest'
import { createHistory, readUse } from '../../../dashboard/src/state/history.ts'
import type { OverviewSample } from '../../../dashboard/src/wire.ts'
import { makeLane, makeOverview, makeTenant } from './overview.ts'

describe('the history', () => {
  test('keeps readings for its time and drops the rest', () => {
    const history = createHistory({ keepSeconds: 10 })
    for (let second = 0; second < 30; second++) {
      history.add(makeOverview(second, { lanes: [makeLane({ in_flight: second })] }))
    }
    const lane = history.lane('openai/small')!
    expect(lane.inFlight).toEqual([19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29])
    expect(lane.at.at(-1)! - lane.at[0]!).toBe(10)
    for (const column of Object.values(lane)) expect(column).toHaveLength(11)
    expect(history.total.at).toHaveLength(11)
  })

  test('shows a gap where nothing was received', () => {
    const history = createHistory({ keepSeconds: 600 })
    for (const second of [0, 1, 60]) history.add(makeOverview(second))
    expect(history.lane('openai/small')!.inFlight).toEqual([0, 0, null, 0])
  })

  test('counts a snapshot that comes again once', () => {
    const history = createHistory({ keepSeconds: 600 })
    for (const second of [0, 1, 1]) history.add(makeOverview(second))
    expect(history.total.at).toHaveLength(2)
  })

  test('starts over when time runs backwards', () => {
    const history = createHistory({ keepSeconds: 600 })
    for (const second of [100, 101, 3]) history.add(makeOverview(second))
    expect(history.lane('openai/small')!.at).toHaveLength(1)
  })

  test('goes back over a reload: what the server remembers is before what was received', () => {
    const history = createHistory({ keepSeconds: 600 })
    history.add(makeOverview(100, { lanes: [makeLane({ in_flight: 7 })] }))
    const sample = (second: number, in_flight: number | null): OverviewSample => ({
      at: makeOverview(second).at,
      total: { finished_per_minute: second, in_flight: 0, waiting: 0, failed: 0, spent_usd: 0, throttled: 0 },
      lanes:
        in_flight === null
          ? {}
          : {
              'openai/small': {
                ...{ in_flight, waiting: 0, throttled: 0, paused: false },
                used: { requests: 300, tokens: 0, input_tokens: null, output_tokens: null },
              },
            },
    })
    history.seed([sample(70, 3), sample(85, null), sample(101, 9)], [makeLane()])
    expect(history.lane('openai/small')!.inFlight).toEqual([3, 0, 7])
    expect(history.lane('openai/small')!.requests).toEqual([0.5, 0, 0])
    expect(history.total.finished).toEqual([70, 85, 0])
    // It goes on as before, and drops what is too old.
    history.add(makeOverview(680))
    expect(history.total.at).toHaveLength(4)
  })

  test('drops lanes that are gone', () => {
    const history = createHistory({ keepSeconds: 600 })
    history.add(makeOverview(0))
    history.add(makeOverview(1, { lanes: [] }))
    expect(history.lane('openai/small')).toBeNull()
  })

  test('sums over lanes and tenants', () => {
    const history = createHistory({ keepSeconds: 600 })
    const counts = { scheduled: 1, queued: 2, running: 0, completed: 0, failed: 4, cancelled: 0 }
    const tenants = [
      makeTenant({ counts, spent_usd: 0.5 }),
      makeTenant({ id: 'birch', counts, spent_usd: 1 }),
    ]
    history.add(
      makeOverview(0, {
        tenants,
        lanes: [makeLane({ in_flight: 3 }), makeLane({ id: 'b/b', in_flight: 4 })],
      }),
    )
    expect(history.total).toMatchObject({ inFlight: [7], waiting: [6], failed: [8], spent: [1.5] })
  })
})

describe('readUse', () => {
  const used = { requests: 20, tokens: 500, input_tokens: null, output_tokens: null }

  test('turns the content of a window into a rate a minute', () => {
    const lane = makeLane({ used, limits: { ...makeLane().limits, window_ms: 10_000 } })
    expect(readUse(lane, 'requests')).toEqual({ used: 120, limit: 600, share: 0.2 })
  })

  test('measures by the limit that the provider reported if that is lower', () => {
    const lane = makeLane({ used, learned: { requests: 40, tokens: 90_000, concurrency: null } })
    expect(readUse(lane, 'requests')).toMatchObject({ limit: 40, share: 0.5 })
    expect(readUse(lane, 'tokens')).toMatchObject({ limit: 60_000 })
  })

  test('says nothing where there is no limit', () => {
    expect(readUse(makeLane({ used }), 'input_tokens')).toBeNull()
  })
})
