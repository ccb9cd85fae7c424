import { expect, it } from 'vitest'
import { OTHER, openFlowShop } from './fixture.ts'
import { chat } from './forms.ts'

const CALL_MS = 40
const SLOTS = 4
const STEPS = 3
const BUSY_FLOWS = 150

it("gives each step of another tenant's flow its turn beside many flows", async () => {
  const shop = await openFlowShop({
    simulator: { latencyMs: CALL_MS },
    limits: `{ max_concurrency: ${SLOTS} }`,
  })
  const flow = (mark: string) => ({
    name: 'turns',
    steps: Object.fromEntries(
      Array.from({ length: STEPS }, (_, step) => {
        const before = step === 0 ? '' : ` \${{ steps.s${step - 1}.result.id }}`
        return [`s${step}`, { job: chat(`${mark} ${step}${before}`) }]
      }),
    ),
  })
  const busy = await Promise.all(
    Array.from({ length: BUSY_FLOWS }, (_, index) => shop.create(flow(`busy ${index}`))),
  )
  const isDone = async (id: string) => (await shop.call('GET', `/v1/flows/${id}`)).body.status === 'completed'
  await expect.poll(() => isDone(busy[0]!.id), { timeout: 10_000, interval: 20 }).toBe(true)

  const headers = { authorization: `Bearer ${OTHER}` }
  const { status, body: quiet } = await shop.call('POST', '/v1/flows', flow('quiet'), headers)
  expect(status).toBe(202)
  const readQuiet = async () =>
    (await shop.call('GET', `/v1/flows/${quiet.id}`, undefined, headers)).body.status
  await expect.poll(readQuiet, { timeout: 20_000, interval: 20 }).toBe('completed')

  const left = await Promise.all(busy.map(async ({ id }) => !(await isDone(id))))
  // A step waits for a slot and makes its call. Behind the others it would end after most of them, on any machine.
  expect(left.filter(Boolean).length).toBeGreaterThan(BUSY_FLOWS / 2)
}, 60_000)
