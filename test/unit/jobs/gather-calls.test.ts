import { expect, it } from 'vitest'
import { gatherCalls } from '../../../jobs/gather-calls.ts'

function open(within: 'tick' | 'turn' = 'tick', size?: { of(item: string): number; most: number }) {
  const runs: string[][] = []
  const gather = gatherCalls({
    keyOf: (item: string) => item[0]!,
    async run(items) {
      runs.push([...items])
      if (items.some((item) => item.endsWith('away'))) throw new Error('Connection is closed.')
      if (items.some((item) => item.endsWith('bad'))) throw new Error('WRONGTYPE')
      return items.map((item) => item.toUpperCase())
    },
    most: 3,
    within,
    ...(size && { size }),
  })
  return { runs, gather }
}

it('lets calls that share a key travel together, up to a maximum, and answers each', async () => {
  const { runs, gather } = open()
  expect(await Promise.all(['a1', 'b1', 'a2', 'a3', 'a4'].map(gather))).toEqual([
    'A1',
    'B1',
    'A2',
    'A3',
    'A4',
  ])
  expect(runs).toEqual([['a1', 'a2', 'a3'], ['a4'], ['b1']])
  expect(await gather('a5')).toBe('A5')
  expect(runs).toHaveLength(4)
})

it('lets no script take more than it may, except for one item alone', async () => {
  const { runs, gather } = open('tick', { of: (item) => item.length, most: 5 })
  await Promise.all(['a', 'aaaa', 'a', 'aaaaaaaa', 'a'].map(gather))
  expect(runs).toEqual([['a', 'aaaa'], ['a'], ['aaaaaaaa'], ['a']])
})

it('gathers over several callbacks of one turn if it is told to', async () => {
  const { runs, gather } = open('turn')
  const answers: Promise<string>[] = []
  process.nextTick(() => answers.push(gather('a1')))
  queueMicrotask(() => answers.push(gather('a2')))
  await new Promise((resolve) => setImmediate(resolve))
  expect(await Promise.all(answers)).toHaveLength(2)
  expect(runs).toHaveLength(1)
})

it('lets a fault of one item fail that one alone', async () => {
  const { runs, gather } = open()
  const settled = await Promise.allSettled(['a1', 'a-bad', 'a2'].map(gather))
  expect(settled.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
  expect(runs).toEqual([['a1', 'a-bad', 'a2'], ['a1'], ['a-bad'], ['a2']])
})

it('asks a Redis that is away once, and answers all', async () => {
  const { runs, gather } = open()
  const settled = await Promise.allSettled(['a1', 'a-away', 'a2'].map(gather))
  expect(settled.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected'])
  expect(runs).toHaveLength(1)
})
