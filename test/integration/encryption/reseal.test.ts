import { pino } from 'pino'
import { expect, it, onTestFinished } from 'vitest'
import { tenantRoot, tenantsKey } from '../../../jobs/keys.ts'
import { createResealTask } from '../../../services/reseal-task.ts'
import { createTestApi } from '../../helpers/api.ts'
import { testKeys, testSealer } from '../../helpers/encryption.ts'
import { testRedis } from '../../helpers/redis.ts'

const [oldKey, newKey] = testKeys
const job = { type: 'chat', body: { model: 'fast', messages: [{ role: 'user', content: 'canary' }] } }

it.each([
  ['with another key', [oldKey]],
  ['in plain', []],
])(
  'a value without an end that was stored %s is encrypted again, and can be read when the older key is gone',
  async (_how, before) => {
    const place = testRedis()
    const open = async (keys: readonly string[]) => {
      const api = await createTestApi({ place, sealer: testSealer(keys) })
      onTestFinished(() => api.close())
      const call = async (method: 'GET' | 'POST' | 'PUT', url: string, payload?: object) => {
        const reply = await api.app.inject({ method, url, ...(payload === undefined ? {} : { payload }) })
        expect(reply.statusCode, `${url}: ${reply.body}`).toBeLessThan(300)
        return reply.json()
      }
      return { ...api, call }
    }
    const first = await open(before)
    const { id: schedule } = await first.call('POST', '/v1/schedules', { every: '1h', job })
    const far = { ...job, run_at: '2099-01-01T00:00:00Z', fair_key: 'ada@example.org' }
    const { id: scheduled } = await first.call('POST', '/v1/jobs', far)
    const steps = { ok: { wait_for_signal: { timeout: '24h' } } }
    const { id: flow } = await first.call('POST', '/v1/flows', {
      name: 'f',
      input: { topic: 'canary' },
      steps,
    })
    await first.call('POST', `/v1/flows/${flow}/signals/ok`, { said: 'canary' })
    await first.call('PUT', '/v1/durable/run/steps/ok', { signal: {} })
    await first.call('POST', '/v1/durable/run/signals/ok', { said: 'canary' })

    const lines: object[] = []
    const task = createResealTask({
      redis: first.redis,
      sealer: testSealer([newKey, ...before]),
      prefix: place.prefix,
      tenants: () => first.redis.smembers(tenantsKey(place.prefix)),
      onFailure({ error }) {
        throw error
      },
      log: pino({ base: null }, { write: (line: string) => void lines.push(JSON.parse(line)) }),
    })
    await first.redis.sadd(tenantsKey(place.prefix), 'default')
    const { signal } = new AbortController()
    await task.run(signal)
    // Of the schedule, of the job (two), of the flow (two) and of the run.
    expect(lines).toMatchObject([{ changed: 6, unreadable: 0 }])

    const second = await open([newKey])
    expect(await second.call('GET', `/v1/schedules/${schedule}`)).toMatchObject({ job })
    const shown = await second.call('GET', `/v1/jobs/${scheduled}`)
    expect(shown).toMatchObject({ status: 'scheduled', error: null, fair_key: 'ada@example.org' })
    const root = tenantRoot(place.prefix, 'default')
    const body = await first.redis.hgetBuffer(`${root}:job:${scheduled}`, 'body')
    const opened = testSealer([newKey]).open({ root, purpose: 'body', id: scheduled }, body!)
    expect(opened.toString()).toContain('canary')
    const step = { signal: { said: 'canary' } }
    expect(await second.call('GET', `/v1/flows/${flow}`)).toMatchObject({ steps: { ok: step } })
    expect(await second.call('GET', '/v1/durable/run/steps/ok')).toMatchObject({ value: { said: 'canary' } })
  },
)
