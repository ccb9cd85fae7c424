import { expect, it } from 'vitest'
import { repeat } from '../../../lib/repeat.ts'

/** A task whose turns end on command. */
function openTask() {
  const turns: { end: () => void; fail: (error: unknown) => void }[] = []
  const begun: (() => void)[] = []
  let under = 0
  let most = 0
  return {
    turns,
    most: () => most,
    /** Resolves when `count` turns have begun. */
    async began(count: number) {
      while (turns.length < count) await new Promise<void>((resolve) => begun.push(resolve))
    },
    async run() {
      under++
      most = Math.max(most, under)
      const turn = Promise.withResolvers<void>()
      turns.push({ end: turn.resolve, fail: turn.reject })
      for (const tell of begun.splice(0)) tell()
      await turn.promise.finally(() => under--)
    },
  }
}

const rest = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

it('begins at once, has no two turns beside each other, and none waiting behind a slow one', async () => {
  const task = openTask()
  const repeating = repeat(20, task.run, () => {})
  await task.began(1)
  await rest(150) // seven turns' worth
  expect(task.turns).toHaveLength(1)
  task.turns[0]!.end()
  await task.began(2)
  await rest(50)
  expect(task.turns).toHaveLength(2)
  expect(task.most()).toBe(1)
  task.turns[1]!.end()
  await repeating.stop()
})

it('goes on after a turn that failed, and reports it', async () => {
  const task = openTask()
  const errors: unknown[] = []
  const repeating = repeat(1, task.run, (error) => errors.push(error))
  await task.began(1)
  task.turns[0]!.fail('broken')
  await task.began(2)
  expect(errors).toEqual(['broken'])
  task.turns[1]!.end()
  await repeating.stop()
})

it('stops when the turn under way has ended, and begins none', async () => {
  const task = openTask()
  const repeating = repeat(1, task.run, () => {})
  await task.began(1)
  let isStopped = false
  const stopping = repeating.stop().then(() => {
    isStopped = true
  })
  await rest(20)
  expect(isStopped).toBe(false)
  task.turns[0]!.end()
  await stopping
  await rest(20)
  expect(task.turns).toHaveLength(1)
})
