import { expect, it } from 'vitest'
import { type FlowRunnerDeps, startFlowRunner } from '../../../flows/runner.ts'

it('goes on when it is woken for all tenants in the middle of a look', async () => {
  let looks = 0
  let onLook = () => {}
  const runner = startFlowRunner({
    tenants: async () => ['acme'],
    work: {
      claim: async () => {
        looks++
        onLook()
        return { flows: [], nextInMs: null }
      },
    },
  } as unknown as FlowRunnerDeps)
  onLook = () => {
    onLook = () => {}
    runner.wake()
  }
  await expect.poll(() => looks).toBe(2)
  // Nothing is due: it rests, and other work runs.
  await new Promise((resolve) => setTimeout(resolve, 20))
  expect(looks).toBe(2)
  await runner.stop()
})
