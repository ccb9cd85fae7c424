import { expect, it } from 'vitest'
import { shareRounds } from '../../../jobs/durability.ts'

/** Rounds that end when a test says so. */
function openRounds() {
  const rounds: PromiseWithResolvers<void>[] = []
  const ask = shareRounds(() => {
    const round = Promise.withResolvers<void>()
    rounds.push(round)
    return round.promise
  })
  return { rounds, ask }
}

const turn = () => new Promise((resolve) => setImmediate(resolve))

it('a caller during a round is answered by the next one, however many callers there are', async () => {
  const { rounds, ask } = openRounds()
  const first = ask()
  await turn()
  const others = [ask(), ask(), ask()]
  await turn()
  expect(rounds).toHaveLength(1)
  rounds[0]!.resolve()
  await first
  await turn()
  expect(rounds).toHaveLength(2)
  rounds[1]!.resolve()
  await Promise.all(others)
  expect(rounds).toHaveLength(2)
})

it('a round that fails is reported to its callers, and not to the others', async () => {
  const { rounds, ask } = openRounds()
  const first = ask()
  await turn()
  const second = ask()
  rounds[0]!.reject(new Error('the disk'))
  await expect(first).rejects.toThrow('the disk')
  await turn()
  rounds[1]!.resolve()
  await second
})
