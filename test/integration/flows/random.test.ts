import fc from 'fast-check'
import { expect, it } from 'vitest'
import { seed } from '../../helpers/seed.ts'
import { shareFlowShop } from './fixture.ts'
import { chat, statuses } from './forms.ts'
import { flowArbitrary, foresee, type ModelStep, toCreate } from './model.ts'

const shop = shareFlowShop({ workers: 2 })
const FLOWS = 40
const content = (mark: string, fails: boolean) => chat(fails ? `[[fault:400]] ${mark}` : mark)

it('random flows end as a model predicts, with every call made once and no gap in their events', async () => {
  const flows = fc.sample(flowArbitrary, { seed, numRuns: FLOWS })
  await Promise.all(flows.map((steps, at) => check(steps, `r${at}`, at % 2 === 0 ? 'continue' : 'stop')))
  const prompts = shop()
    .simulator.calls()
    .map((call) => call.prompt_hash)
  expect(prompts.length).toBeGreaterThan(FLOWS)
  expect(new Set(prompts).size).toBe(prompts.length)
}, 60_000)

async function check(steps: ModelStep[], mark: string, onFailure: 'continue' | 'stop'): Promise<void> {
  const { id } = await shop().create({ ...toCreate(steps, mark, content), on_failure: onFailure })
  const seqs: number[] = []
  for await (const { data } of shop().follow(id)) seqs.push(data.seq)
  expect(seqs).toEqual(seqs.map((_, at) => at + 1))
  const { body: flow } = await shop().call('GET', `/v1/flows/${id}`)
  const expected = foresee(steps)
  const isFailed = expected.includes('failed')
  expect({ mark, status: flow.status }).toEqual({ mark, status: isFailed ? 'failed' : 'completed' })
  const found = Object.values(statuses(flow))
  if (!isFailed || onFailure === 'continue') expect({ mark, found }).toEqual({ mark, found: expected })
  else {
    // Steps that were not settled when it stopped were cancelled.
    for (const [at, status] of found.entries())
      if (status !== 'cancelled') expect({ mark, at, status }).toEqual({ mark, at, status: expected[at] })
    expect(found).toContain('failed')
  }
}
