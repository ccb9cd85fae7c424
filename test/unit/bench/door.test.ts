import { describe, expect, it } from 'vitest'
import { checkGoals } from '../../../bench/door/checks.ts'
import { type Measured, summarize } from '../../../bench/door/result.ts'
import type { SystemName } from '../../../bench/door/stage.ts'

const systems = (['upstream', 'portkey', 'sluice', 'hits'] as const).map((name) => ({ name, title: name }))

function cell(system: SystemName, p50Ms: number, perSecond: number, concurrency = 32): Measured {
  return { system, concurrency, isStream: false, calls: 10, p50Ms, p99Ms: p50Ms, perSecond, cpuMs: {} }
}

describe('the rows of the bench of the door', () => {
  it('add what each round adds to its own upstream', () => {
    const round = (slow: number) => [
      cell('upstream', 5 * slow, 100),
      cell('portkey', 7 * slow, 100),
      cell('sluice', 6 * slow, 100),
      cell('hits', slow, 100),
    ]
    const rows = summarize(systems, [round(1), round(10), round(2)])
    expect(rows.map(({ system, addedMs }) => [system, addedMs])).toEqual([
      ['upstream', 0],
      ['portkey', 4],
      ['sluice', 2],
      ['hits', -8],
    ])
    expect(rows[0]!.calls).toBe(30)
  })
})

describe('the goals of the bench of the door', () => {
  const judge = (sluice: Measured, hits: number, more: Measured[] = []) => {
    const round = [
      cell('upstream', 5, 4000),
      cell('portkey', 15, 1000),
      sluice,
      cell('hits', 1, hits),
      ...more,
    ]
    return checkGoals(summarize(systems, [round])).map(({ verdict }) => verdict)
  }

  it('hold for a door with 1.2 times the calls of the proxy, and whose cache is five times as fast', () => {
    expect(judge(cell('sluice', 15, 1200), 6000)).toEqual(['PASS', 'PASS', 'PASS'])
    expect(judge(cell('sluice', 15, 1199), 6000)).toEqual(['PASS', 'LEAST', 'PASS'])
  })

  it.each([
    [7, 'PASS'],
    [7.1, 'LEAST'],
    [8.1, 'FAIL'],
  ])('alone, an answer after %d ms, with at most two of them added, is a %s', (p50Ms, verdict) => {
    const alone = [cell('upstream', 5, 180, 1), cell('portkey', 20, 50, 1), cell('hits', 1, 900, 1)]
    expect(judge(cell('sluice', 15, 1200), 6000, [...alone, cell('sluice', p50Ms, 120, 1)])).toEqual([
      'PASS',
      'PASS',
      'PASS',
      verdict,
      'PASS',
    ])
  })

  it('are missed within bounds up to one and a half times what the proxy adds and 0.7 of its calls', () => {
    expect(judge(cell('sluice', 20, 700), 3500)).toEqual(['LEAST', 'LEAST', 'PASS'])
    expect(judge(cell('sluice', 20.1, 699), 3400)).toEqual(['FAIL', 'FAIL', 'FAIL'])
  })
})
