import { expect, onTestFinished, test } from 'vitest'
import { createRandom } from '../../simulator/random.ts'
import { strike } from '../faults/mix.ts'

const SEED = 20_261_123

test('under load and with a failing provider, a killed worker, API and Redis lose no job and have no call paid twice unflagged', async () => {
  const said: string[] = []
  const { tally, recoveriesMs, broken } = await strike(
    {
      seed: SEED,
      quick: true,
      from: 'HEAD',
      kills: 1,
      mixMs: 0,
      stalledAfterMs: 3000,
      say: (line) => said.push(line),
      opened: (stage) => onTestFinished(() => stage.close()),
    },
    {
      blows: ['redis-kill', 'worker-kill', 'worker-kill-stored', 'api-kill'],
      workers: 1,
      random: createRandom(SEED),
      patienceMs: 25_000,
    },
  )
  expect(said).toHaveLength(4)
  expect(tally.jobs).toBeGreaterThan(20)
  // `npm run faults` tests when things resume: here other tests share the machine.
  const { lost, repeated, failed, mistaken } = tally
  expect({ lost, repeated, failed, mistaken }).toEqual({
    lost: new Map(),
    repeated: new Map(),
    failed: new Map(),
    mistaken: [],
  })
  expect(broken.filter((text) => !text.includes(' took '))).toEqual([])
  // The kill met a call; it ran again.
  expect(recoveriesMs.length).toBeGreaterThan(0)
}, 60_000)
