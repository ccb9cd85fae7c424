import { expect, it } from 'vitest'
import { atEndOfTurn, writeAtEndOfTurn } from '../../../lib/end-of-turn.ts'

/** Resolves after the tasks of this turn ran. */
const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

it('runs the tasks of a turn, then the writes, those of the tasks too, and all of them in one turn', async () => {
  const log: string[] = []
  writeAtEndOfTurn(() => log.push('an early write'))
  atEndOfTurn(() => {
    log.push('first')
    writeAtEndOfTurn(() => log.push('the write of the first'))
  })
  atEndOfTurn(() => log.push('second'))
  expect(log).toEqual([])
  await turn()
  expect(log).toEqual(['first', 'second', 'an early write', 'the write of the first'])
})

it('leaves tasks of tasks to the next turn, before what that turn brings', async () => {
  const log: string[] = []
  atEndOfTurn(() => {
    atEndOfTurn(() => log.push('next turn'))
    setImmediate(() => log.push('after it'))
    log.push('this turn')
  })
  await turn()
  expect(log).toEqual(['this turn'])
  await turn()
  expect(log).toEqual(['this turn', 'next turn', 'after it'])
})
