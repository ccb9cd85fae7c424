import { expect, onTestFinished, test } from 'vitest'
import { countEnded, createRandomFlows, judgeFlows } from '../faults/random-flows.ts'
import { startStack } from '../helpers/stack.ts'

const FLOWS = 12
const KILLS = 3

test('flows come to their ends while their workers are killed, each step bought once, events without gaps', async () => {
  const seed = Number(process.env.SLUICE_SEED ?? Math.floor(Math.random() * 2 ** 31))
  console.log(`seed ${seed} (SLUICE_SEED)`)
  const stack = await startStack({ workers: 2, extra: 'jobs: { stalled_after: 1s }' })
  onTestFinished(async () => {
    await stack.stop()
  })
  const url = stack.urls[0]!
  const flows = await createRandomFlows(url, seed, FLOWS, 200)
  for (let kill = 0; kill < KILLS; kill++) {
    const before = await countEnded(url, flows)
    const victim = stack.workers[kill % stack.workers.length]!
    victim.kill('SIGKILL')
    await victim.exited
    stack.workers.splice(stack.workers.indexOf(victim), 1)
    await stack.startWorker()
    // Something has to happen between two deaths.
    await expect
      .poll(() => countEnded(url, flows), { timeout: 10_000 })
      .toBeGreaterThanOrEqual(Math.min(before + 1, FLOWS))
  }
  await expect.poll(() => countEnded(url, flows), { timeout: 20_000 }).toBe(FLOWS)
  const calls = await stack.simulator.calls()
  expect(
    await judgeFlows(
      url,
      flows,
      calls.map((call) => call.prompt_hash),
    ),
  ).toEqual([])
}, 60_000)
