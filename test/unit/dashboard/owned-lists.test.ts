import fc from 'fast-check'
import { expect, test } from 'vitest'
import { mergeLive } from '../../../dashboard/src/state/live-lists.ts'
import { descending, readOwned } from '../../../dashboard/src/state/owned-lists.ts'
import { MOST_SORTED, readNewest } from '../../../dashboard/src/state/sorted-jobs.ts'
import type { OwnedJob } from '../../../dashboard/src/wire.ts'

type Entry = { id: string; at: number }
const order = descending<Entry>(({ at }) => at)

/**
 * Pages of a list in memory, as the API gives them: behind the last id of the page before, and at most `limit`
 * entries.
 */
function pagesOf<One extends { id: string }>(list: readonly One[], largest: number) {
  return async ({ limit, after }: { limit: number; after: string | null | undefined }) => {
    const start = after == null ? 0 : list.findIndex(({ id }) => id === after) + 1
    const data = list.slice(start, start + Math.min(limit, largest))
    return { data, has_more: start + data.length < list.length, last_id: data.at(-1)?.id ?? null }
  }
}

test('the first entries of several lists are the first of all, however long their pages are', async () => {
  const times = fc.array(fc.nat(1_000), { maxLength: 30 })
  await fc.assert(
    fc.asyncProperty(
      fc.dictionary(fc.constantFrom('acme', 'birch', 'cedar'), times, { noNullPrototype: true }),
      fc.integer({ min: 1, max: 40 }),
      fc.integer({ min: 1, max: 7 }),
      async (given, most, largest) => {
        const lists = new Map(
          Object.entries(given).map(([tenant, times]) => [
            tenant,
            times.map((at, number) => ({ id: `${tenant} ${number}`, at })).sort(order),
          ]),
        )
        const { found, hasMore } = await readOwned<Entry>({
          ...{ tenants: [...lists.keys()], most, order },
          readPage: (tenant, page) => pagesOf(lists.get(tenant)!, largest)(page),
        })
        const all = [...lists.values()].flat().sort(order)
        expect(found.map(({ entry }) => entry.at)).toEqual(all.slice(0, most).map(({ at }) => at))
        for (const { tenant, entry } of found) expect(entry.id.startsWith(tenant)).toBe(true)
        expect(hasMore).toBe(all.length > most)
      },
    ),
  )
})

test('a list that answers the same page again is read no more, and each of its entries is there once', async () => {
  const data = [5, 4].map((at) => ({ id: `acme ${at}`, at }))
  let asked = 0
  const readPage = async () => {
    if (++asked > 5) throw new Error('it is asked for ever')
    return { data, has_more: true, last_id: 'acme 4' }
  }
  const { found, hasMore } = await readOwned<Entry>({
    ...{ tenants: ['acme'], most: Number.POSITIVE_INFINITY, order, readPage },
  })
  expect(found.map(({ entry }) => entry)).toEqual(data)
  expect(hasMore).toBe(true)
})

test("the overview's knowledge of an entry is shown, and open ones come first", () => {
  const entry = (id: string, done: number, estimated_finish_at: string | null = null) => ({
    ...{ id, done, estimated_finish_at },
  })
  const shown = mergeLive([entry('old', 10), entry('open', 3), entry('gone', 10, 'stale')], {
    known: [entry('open', 5, '14:02')],
    identify: ({ id }) => id,
    isOpen: ({ done }) => done < 10,
  })
  expect(shown).toEqual([entry('open', 5, '14:02'), entry('old', 10), entry('gone', 10)])
})

test('the newest jobs are read page by page up to a bound, and it is said whether there are others', async () => {
  const jobs = (count: number) =>
    Array.from({ length: count }, (_, number) => ({ id: `job_${number}` }) as OwnedJob)
  const read = async (count: number, largest: number) => {
    const { jobs: found, isWhole } = await readNewest(pagesOf(jobs(count), largest))
    return [found.length, isWhole]
  }
  expect(await read(0, 500)).toEqual([0, true])
  expect(await read(700, 500)).toEqual([700, true])
  expect(await read(MOST_SORTED, 500)).toEqual([MOST_SORTED, true])
  expect(await read(MOST_SORTED + 1, 500)).toEqual([MOST_SORTED, false])
  // Pages that end early, because few jobs match, do not go on for ever.
  expect(await read(900, 1)).toEqual([8, false])
})
