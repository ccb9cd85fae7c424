import { expect, test } from 'vitest'
import { mapInOrder, readAhead } from '../../../cli/flow.ts'

async function* count(to: number, onTaken: (number: number) => void = () => {}): AsyncGenerator<number> {
  for (let number = 1; number <= to; number++) {
    onTaken(number)
    yield number
  }
}

async function collect<T>(source: AsyncIterable<T>): Promise<T[]> {
  return Array.fromAsync(source)
}

const turn = () => new Promise((resolve) => setImmediate(resolve))

test('reading ahead stops at its capacity until somebody takes', async () => {
  const taken: number[] = []
  const ahead = readAhead(
    count(10, (number) => taken.push(number)),
    3,
  )
  expect((await ahead.next()).value).toBe(1)
  await turn()
  expect(taken.length).toBeLessThanOrEqual(4)
  expect(await collect(ahead)).toEqual([2, 3, 4, 5, 6, 7, 8, 9, 10])
})

test('an error of the source comes after the items before it', async () => {
  async function* broken() {
    yield 1
    throw new Error('no more')
  }
  const ahead = readAhead(broken(), 5)
  expect((await ahead.next()).value).toBe(1)
  await expect(ahead.next()).rejects.toThrow('no more')
})

test('a reader that stops ends the source', async () => {
  let isClosed = false
  async function* endless() {
    try {
      for (;;) yield 1
    } finally {
      isClosed = true
    }
  }
  for await (const _one of readAhead(endless(), 2)) break
  expect(isClosed).toBe(true)
})

test('results come in the order of the source, in which order they may be ready, and no more work runs than allowed', async () => {
  let running = 0
  let most = 0
  const work = async (number: number) => {
    most = Math.max(most, ++running)
    for (let turns = 0; turns < 5 - (number % 5); turns++) await turn()
    running--
    return number
  }
  expect(await collect(mapInOrder(count(20), 4, work))).toEqual(Array.from({ length: 20 }, (_, i) => i + 1))
  expect(most).toBe(4)
})

test('a result does not wait for a source that has nothing to give yet', async () => {
  const { promise, resolve } = Promise.withResolvers<void>()
  async function* slow() {
    yield 1
    await promise
    yield 2
  }
  const results = mapInOrder(slow(), 4, async (number) => number)
  expect((await results.next()).value).toBe(1)
  resolve()
  expect((await results.next()).value).toBe(2)
  expect((await results.next()).done).toBe(true)
})

test('a failure reaches the reader that comes to it', async () => {
  const work = async (number: number) => {
    if (number === 2) throw new Error('two')
    return number
  }
  const results = mapInOrder(count(3), 3, work)
  expect((await results.next()).value).toBe(1)
  await expect(results.next()).rejects.toThrow('two')
})
