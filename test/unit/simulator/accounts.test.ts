import { expect, test } from 'vitest'
import { simulatorOptionsFromArgs } from '../../../simulator/cli.ts'
import { createSimulator } from '../../../simulator/simulator.ts'

async function start(args: string[]) {
  const { options } = simulatorOptionsFromArgs(args)
  const simulator = createSimulator({ ...options, now: () => 1_000_000 })
  const url = await simulator.listen()
  const call = async (model: string, key = 'any') => {
    const answer = await fetch(`${url}/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}` },
      body: JSON.stringify({ model, messages: [{ role: 'user', content: 'hi' }] }),
    })
    await answer.text()
    return answer
  }
  return { simulator, call }
}

test('models of a family are counted together, and a call that it refuses takes nothing of its own limit', async () => {
  const { simulator, call } = await start(['--rpm', '3', '--family', 'opus=opus-*:rpm=4'])
  const statuses: number[] = []
  for (const model of ['opus-1', 'opus-1', 'opus-2', 'opus-2', 'opus-2', 'haiku']) {
    const answer = await call(model)
    statuses.push(answer.status)
    // The response names the limit with the least left.
    if (statuses.length === 4) expect(answer.headers.get('x-ratelimit-limit-requests')).toBe('4')
  }
  expect(statuses).toEqual([200, 200, 200, 200, 429, 200])
  simulator.setLimits({ requests_per_minute: 9 }, 'opus-2')
  expect((await call('opus-2')).status).toBe(200)
  await simulator.close()
})

test('keys have limits of their own, and any other key is refused', async () => {
  const { simulator, call } = await start(['--key', 'a:rpm=1', '--key', 'b:rpm=2'])
  const statuses: number[] = []
  for (const key of ['a', 'a', 'b', 'b', 'b', 'c']) statuses.push((await call('m', key)).status)
  expect(statuses).toEqual([200, 429, 200, 200, 429, 401])
  expect(simulator.calls().map(({ key }) => key)).toEqual(['a', 'b', 'b'])
  simulator.setFaults([{ kind: 'quota', key: 'b' }])
  simulator.setLimits({}, 'm')
  expect([(await call('m', 'a')).status, (await call('m', 'b')).status]).toEqual([200, 429])
  await simulator.close()
})
