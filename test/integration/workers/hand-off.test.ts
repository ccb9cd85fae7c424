import { expect, onTestFinished, test } from 'vitest'
import type { Claimed } from '../../../jobs/claim.ts'
import { LONGEST_PAUSE_DELAY_MS } from '../../../jobs/lane-queue.ts'
import type { Held } from '../../../jobs/queue-entry.ts'
import { createHandOff } from '../../../workers/hand-off.ts'
import { openTestStore, submit, until } from '../../helpers/store.ts'

const LANE = 'sim/held'
const MINUTE = 60_000
const COST = { tokens: 10, inputTokens: 10, outputTokens: 0, inputs: 1, coalesceKey: null }

async function open(successor: (job: Pick<Claimed, 'model'>) => string | null = () => null) {
  const store = await openTestStore()
  const consume = (lane: string) => {
    const queue = store.queues.consume(lane, { onStalled() {}, onError() {} })
    onTestFinished(() => queue.close())
    return queue
  }
  const queue = consume(LANE)
  const handOff = createHandOff({
    ...{ queue, work: store.work, lane: { successor }, now: Date.now },
    entries: { abandon() {} },
  })
  const fetch = async (count: number, from = queue) => {
    const held: Held[] = []
    await until(async () => {
      held.push(...(await from.fetch(count - held.length)))
      return held.length === count
    })
    return held
  }
  return { store, queue, consume, handOff, fetch }
}

test('an entry that is put off for an hour comes back when an operator resumes its lane', async () => {
  const { store, handOff, fetch } = await open()
  const { id } = await submit(store, { lane: LANE })
  await handOff.delay(await fetch(1), Date.now() + 60 * MINUTE, (_, at) => ({ at }))
  await store.queues.promote(LANE, Date.now() + LONGEST_PAUSE_DELAY_MS + 5000)
  expect(await fetch(1)).toMatchObject([{ id }])
})

test('of entries that leave, the one without a next lane is put off as its tier says', async () => {
  const { store, queue, consume, handOff, fetch } = await open(({ model }) =>
    model === 'routed' ? 'sim/next' : null,
  )
  const routed = await submit(store, { lane: LANE, model: 'routed' })
  const alone = await submit(store, { lane: LANE })
  const back = Date.now() + 2 * MINUTE
  await handOff.spill(await fetch(2), Date.now() + 20 * MINUTE, ({ id }) => ({
    at: back,
    mark: { fallsBackAt: id === alone.id ? back : 0 },
  }))
  expect(await queue.nextDue()).toBe(Math.round(back))
  expect(await fetch(1, consume('sim/next'))).toMatchObject([{ id: routed.id, fallsBackAt: null }])
  await store.queues.promote(LANE, back + 5000)
  expect(await fetch(1)).toMatchObject([{ id: alone.id, fallsBackAt: back }])
})

test('an entry of a tier that is shut is brought forward for no tenant for which it is shut', async () => {
  const { store, queue, fetch } = await open()
  const enter = (tenant: string, flex: boolean) =>
    submit(
      store,
      { tenant, lane: LANE, cost: { ...COST, ...(flex ? { tier: 'flex' } : {}) } },
      `${tenant} ${flex}`,
    )
  const kept = await enter('acme', false)
  const flex = await enter('acme', true)
  const others = await enter('globex', true)
  expect(await queue.bringOtherTiers(5, [['flex', null]])).toMatchObject({ moved: 0 })
  expect(
    await queue.bringForward(
      ['acme'],
      [
        ['flex', 'globex'],
        ['priority', null],
      ],
    ),
  ).toBe(true)
  expect(await fetch(1)).toMatchObject([{ id: flex.id }])
  expect(await queue.bringForward(['acme'], [['flex', null]])).toBe(false)
  expect(await fetch(1)).toMatchObject([{ id: kept.id }])
  expect(await queue.bringForward(['acme'], [['flex', 'acme']])).toBe(true)
  expect(await fetch(1)).toMatchObject([{ id: others.id }])
})
