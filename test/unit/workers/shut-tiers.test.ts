import { expect, test } from 'vitest'
import type { Held } from '../../../jobs/queue-entry.ts'
import { STANDARD } from '../../../ratelimit/lane-state.ts'
import { createShutTiers } from '../../../workers/shut-tiers.ts'
import { tierToTake } from '../../../workers/tier-of-call.ts'
import { heldEntry } from './held.ts'

/** A clock that a test moves, and a queue without entries. */
function open() {
  let at = 1000
  const asked: unknown[] = []
  const shutTiers = createShutTiers({
    queue: {
      async bringOtherTiers(count, shut) {
        asked.push([count, shut])
        return { moved: 0, seen: 0 }
      },
    },
    tierOf: (held) => tierToTake([held], at),
    now: () => at,
  })
  return { shutTiers, asked, now: () => at, pass: (ms: number) => (at += ms) }
}

const flexOf = (tenant: string, count: number): Held[] =>
  Array.from({ length: count }, (_, i) => ({ ...heldEntry(`${tenant}-${i}`, { tier: 'flex' }), tenant }))

test('the first entries of a tier that is slowed down stay in hand, and a long backlog comes back bit by bit', () => {
  const { shutTiers } = open()
  const hand = flexOf('acme', 70)
  shutTiers.note('flex', null, 200)
  expect(shutTiers.chooseLeaving(hand, 'flex', 200)).toEqual({
    leaving: hand.slice(64),
    awayMs: 5000,
    isShut: false,
  })
  const spans = Array.from(
    { length: 200 },
    () => shutTiers.chooseLeaving(flexOf('acme', 128), 'flex', 200).awayMs,
  )
  expect(spans[0]).toBe(5640)
  expect(spans).toEqual(spans.toSorted((a, b) => a - b))
  expect(spans.at(-1)).toBe(60_000)
  expect(shutTiers.chooseLeaving(hand.slice(0, 64), 'flex', 200).leaving).toEqual([])
})

test('entries of other tenants that wait take their part of what stays in hand', () => {
  const { shutTiers } = open()
  const [one, two] = [flexOf('one', 50), flexOf('two', 50)]
  shutTiers.note('flex', 'one', 200)
  expect(shutTiers.chooseLeaving([...one, ...two], 'flex', 200).leaving).toEqual([])
  shutTiers.note('flex', 'two', 200)
  expect(shutTiers.chooseLeaving([...one, ...two], 'flex', 200).leaving).toEqual(two.slice(14))
})

test('all entries of a tier leave that stays shut', () => {
  const { shutTiers } = open()
  const hand = flexOf('acme', 3)
  shutTiers.note('flex', null, 3000)
  expect(shutTiers.chooseLeaving([...hand, heldEntry('free')], 'flex', 3000)).toEqual({
    leaving: hand,
    awayMs: 3000,
    isShut: true,
  })
})

test('while standard is shut and the queue has nothing due, nobody looks before something is', async () => {
  const { shutTiers, asked, now, pass } = open()
  shutTiers.note(STANDARD, null, 2000)
  shutTiers.note('flex', 'acme', 2000)
  await shutTiers.search()
  expect(asked).toEqual([
    [
      64,
      [
        [STANDARD, null],
        ['flex', 'acme'],
      ],
    ],
  ])
  shutTiers.heard()
  pass(100)
  expect(shutTiers.nextLook(now() + 800)).toBe(now() + 800)
  expect(shutTiers.nextLook(0)).toBeLessThan(now())
})
