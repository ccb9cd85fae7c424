import { expect, test } from 'vitest'
import type { LaneView } from '../../../cli/lane-view.ts'
import { renderLanes } from '../../../cli/render-lanes.ts'

const NOW = Date.UTC(2026, 10, 30)
const rates = { requests: 60, tokens: null, input_tokens: null, output_tokens: null }
const plain = { style: (_: unknown, text: string) => text, width: undefined, now: NOW }

function laneOf(id: string, members: Partial<LaneView> = {}): LaneView {
  return {
    ...{ id, rates, speed: 1, utilisation: 0.5, used: { requests: 30, tokens: null } },
    backlog: { waiting: 200, delayed: 56, held: 1 },
    ...{ in_flight: 15, paused_until: null, paused_reason: null, waiting_for: 'requests' },
    ...{ breaker: { state: 'closed' }, latency_ms: { p50: 464.2, p95: 12_345 }, throttled: 3 },
    ...members,
  }
}

const partOf = (name: string, members = {}) => ({
  ...{ name, rates, speed: 1, utilisation: 0.97, in_flight: 4, paused_until: null, paused_reason: null },
  ...{ throttled: 0, shut: null, breaker: { state: 'closed' as const } },
  ...members,
})

test('each lane is shown with its shared limits and its sources, and what holds it back', () => {
  const shut = { until: new Date(NOW + 590_000).toISOString(), reason: 'invalid_api_key' }
  const lanes = [
    laneOf('anthropic/claude-opus-4-5', {
      shared_limits: [partOf('opus'), partOf('org', { speed: 0.8 })],
      held_back_by: { kind: 'shared_limit', name: 'opus' },
      waiting_for: 'tokens',
    }),
    laneOf('azure/gpt-5-mini', {
      waiting_for: null,
      sources: [
        partOf('west'),
        partOf('east', { paused_until: shut.until, paused_reason: 'rate_limit_exceeded' }),
        partOf('sweden', { shut }),
        partOf('norway', { breaker: { state: 'half_open' } }),
      ],
    }),
    laneOf('local/*', { breaker: { state: 'open' } }),
    laneOf('openai/gpt-5', {
      waiting_for: null,
      tiers: [
        partOf('flex', { paused_until: shut.until, paused_reason: 'rate_limit_exceeded' }),
        partOf('priority'),
      ],
    }),
  ]
  expect(renderLanes(lanes, plain)).toBe(
    `
LANE                       USED  WAITING  IN FLIGHT     P50   P95  429S  STATE
anthropic/claude-opus-4-5   50%      256         15  464 ms  12 s     3
    waits for tokens
  limit opus                97%                   4                   0
    holds the lane back
  limit org                 97%                   4                   0
    slowed to 80%
azure/gpt-5-mini            50%      256         15  464 ms  12 s     3  healthy
  source west               97%                   4                   0  healthy
  source east               97%                   4                   0
    paused: rate_limit_exceeded
  source sweden             97%                   4                   0
    shut for 9 min 50 s: invalid_api_key
  source norway             97%                   4                   0
    broken, one call at a time tries it
local/*                     50%      256         15  464 ms  12 s     3  broken
openai/gpt-5                50%      256         15  464 ms  12 s     3  healthy
  tier flex                  paused: rate_limit_exceeded
`.trimStart(),
  )
})

test('a table of lanes has 80 columns, or those of a wider terminal', () => {
  const reason = 'the provider asked for a very long wait, and somebody wrote down why that is so, at length'
  const lanes = [
    laneOf(`openai/${'x'.repeat(60)}`, { paused_reason: `${reason} ${'y'.repeat(90)}` }),
    laneOf('openai/b', { throttled: 123_456, backlog: { waiting: 12_345_678, delayed: 0, held: 0 } }),
  ]
  const narrow = renderLanes(lanes, plain)
  for (const line of narrow.split('\n')) expect(line.length).toBeLessThanOrEqual(80)
  expect(narrow.replace(/\s+/g, '')).toContain(reason.replace(/ /g, ''))
  const wide = renderLanes(lanes, { ...plain, width: 400 })
  expect(wide.trimEnd().split('\n')).toHaveLength(3)
})

test('a server of an earlier release says nothing of sources', () => {
  expect(renderLanes([laneOf('sim/a')], plain).split('\n')).toHaveLength(3)
  expect(renderLanes([], plain)).toBe('LANE  USED  WAITING  IN FLIGHT  P50  P95  429S  STATE\n')
})
