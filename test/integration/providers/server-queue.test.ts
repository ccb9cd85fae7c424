import { expect, it, onTestFinished } from 'vitest'
import { countWaiting, createServerQueues } from '../../../providers/server-queue.ts'
import { createSimulator } from '../../../simulator/simulator.ts'
import { until } from '../../helpers/store.ts'

const lane = { provider: 'local', model: 'llama', kind: 'openai-compatible' as const }

it("reads how many requests wait from vLLM's metrics, of the lane's model", () => {
  const metrics = `# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="llama"} 3.0
vllm:num_requests_waiting{engine="1",model_name="llama"} 4.0
vllm:num_requests_waiting{engine="0",model_name="other"} 9.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="llama"} 70.0
`
  expect(countWaiting(metrics, 'llama')).toBe(7)
  expect(countWaiting(metrics, 'an-adapter')).toBe(16)
  expect(countWaiting('up 1', 'llama')).toBe(null)
})

it('asks a server beside its calls, at most every two seconds, and one without that metric hardly again', async () => {
  let now = 0
  const open = async (selfHosted: boolean) => {
    const server = { knee: 2, firstTokenMs: 400, tokenMs: 1 }
    const simulator = createSimulator(selfHosted ? { selfHosted: server } : {})
    const url = await simulator.listen()
    onTestFinished(() => simulator.close())
    const queues = createServerQueues(
      () => url,
      () => now,
    )
    return { simulator, url, queues }
  }
  const { url, queues, simulator } = await open(true)
  const body = JSON.stringify({ model: 'llama', messages: [{ role: 'user', content: 'hello' }] })
  const headers = { 'content-type': 'application/json' }
  const calls = Promise.all(
    Array.from({ length: 5 }, () => fetch(`${url}/chat/completions`, { method: 'POST', headers, body })),
  )
  await until(async () => simulator.state().in_flight === 5)
  expect(queues.waiting(lane)).toBe(null)
  let read: number | null = null
  await until(async () => {
    read ??= queues.waiting(lane)
    return read !== null
  })
  expect(read).toBe(3)
  expect(queues.waiting(lane), 'one reading is told once').toBe(null)
  await Promise.all((await calls).map((answer) => answer.text()))
  now = 2000
  queues.waiting(lane)
  await until(async () => queues.waiting(lane) === 0)

  const deaf = await open(false)
  deaf.queues.waiting(lane)
  await until(async () => (deaf.simulator.state().by_path.other?.[404] ?? 0) === 1)
  now = 100_000
  for (let at = 0; at < 20; at += 1) expect(deaf.queues.waiting(lane)).toBe(null)
  expect(deaf.simulator.state().calls).toBe(1)
  expect(queues.waiting({ ...lane, kind: 'openai' as never })).toBe(null)
})
