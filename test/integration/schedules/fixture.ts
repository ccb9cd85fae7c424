import { createFlowLauncher } from '../../../api/schedules/scheduled-flows.ts'
import { createJobLauncher } from '../../../api/schedules/scheduled-jobs.ts'
import { resolveTenant } from '../../../config/tenants.ts'
import { dueTenantsKey } from '../../../schedules/keys.ts'
import type { Launcher } from '../../../schedules/launch.ts'
import { createScheduleTask, type SlotEvent } from '../../../schedules/runner.ts'
import { createTestApi, type TestApi, type TestApiOptions } from '../../helpers/api.ts'

/** The content of an answer, which the test that asked for it knows. */
export type Json = ReturnType<typeof JSON.parse>
export type Answer = { status: number; headers: Record<string, unknown>; body: Json }
type Options = { key?: string; body?: object; headers?: Record<string, string> }

export type ScheduleHouse = TestApi & {
  call(method: 'GET' | 'POST' | 'PATCH' | 'DELETE', url: string, options?: Options): Promise<Answer>
  /** Creates a schedule and answers it. */
  make(members?: object, options?: Options): Promise<Json>
  /** Runs what is due now, as the elected worker does. */
  tick(): Promise<void>
  /** Lets time pass for a schedule: moves all its times this much earlier. */
  moveBack(id: string, ms: number, tenant?: string): Promise<void>
  slots: SlotEvent[]
  failures: unknown[]
  launcher: Launcher
  flowLauncher: Launcher
}

export const chatJob = {
  type: 'chat',
  body: { model: 'fast', messages: [{ role: 'user', content: 'Hello' }] },
}

export async function openScheduleHouse(options: TestApiOptions = {}): Promise<ScheduleHouse> {
  const api = await createTestApi(options)
  const slots: SlotEvent[] = []
  const failures: unknown[] = []
  const launcher = createJobLauncher(api.deps)
  const flowLauncher = createFlowLauncher(api.deps)
  const task = createScheduleTask({
    work: api.scheduleWork,
    launchers: { job: launcher, flow: flowLauncher },
    isTenant: (name) => resolveTenant(api.config, name) !== null,
    now: Date.now,
    onSlot: (event) => slots.push(event),
    onFailure: ({ error }) => failures.push(error),
  })
  const call: ScheduleHouse['call'] = async (method, url, { key, body, headers } = {}) => {
    const reply = await api.app.inject({
      method,
      url,
      headers: { ...(key === undefined ? {} : { authorization: `Bearer ${key}` }), ...headers },
      ...(body === undefined ? {} : { payload: body }),
    })
    return { status: reply.statusCode, headers: reply.headers, body: reply.json() }
  }
  return {
    ...api,
    // A getter of the API's.
    get worker() {
      return api.worker
    },
    call,
    async make(members = {}, given = {}) {
      const { status, body } = await call('POST', '/v1/schedules', {
        ...given,
        body: { name: 'a', every: '1h', job: chatJob, ...members },
      })
      if (status !== 201) throw new Error(JSON.stringify(body))
      return body
    },
    async tick() {
      await task.run(new AbortController().signal)
    },
    async moveBack(id, ms, tenant = 'default') {
      const { redis } = api
      const root = api.root(tenant)
      const key = `${root}:schedule:${id}`
      for (const name of ['next_at', 'created_at', 'changed_at', 'starts_at', 'begun', 'settled']) {
        const value = await redis.hget(key, name)
        if (value && value !== '0') await redis.hset(key, name, Number(value) - ms)
      }
      const next = await redis.hget(key, 'next_at')
      if (!next) return
      await redis.zadd(`${root}:schedules:due`, next, id)
      await redis.zadd(dueTenantsKey(root.slice(0, root.indexOf(':{'))), next, tenant)
    },
    slots,
    failures,
    launcher,
    flowLauncher,
  }
}
