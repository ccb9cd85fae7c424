import type { RouteOptions } from 'fastify'
import { describe, expect, it, onTestFinished } from 'vitest'
import { buildApp } from '../../../api/app.ts'
import type { Access } from '../../../api/auth.ts'
import { digestKey } from '../../../config/key-digest.ts'
import { type Scope, scopes } from '../../../config/scopes.ts'
import { createKeyring, type RunTimeKey } from '../../../config/tenants.ts'
import { createTestApi, opsKey, testTenants } from '../../helpers/api.ts'

type Route = { method: string; url: string; access: Access | undefined }

/** What a key of one scope may use. */
const allowed: Record<Scope, readonly Access[]> = {
  jobs: ['public', 'jobs', 'read'],
  read: ['public', 'read'],
  metrics: ['public', 'metrics'],
  admin: ['public', 'jobs', 'read', 'metrics', 'admin'],
}

describe('the scopes of keys', () => {
  it('let each key use the routes of its scope, and no other', async () => {
    const viewerKey = 'viewer-key-0123456789'
    const api = await createTestApi({
      tenants: { ...testTenants, viewers: { keys: [viewerKey], admin: 'read' } },
    })
    onTestFinished(() => api.close())
    const made: RunTimeKey[] = scopes.map((scope) => ({
      id: `key_${scope}`,
      tenant: 'acme',
      digest: digestKey(`secret-of-${scope}`).toString('hex'),
      scopes: [scope],
      models: null,
      expiresAt: null,
    }))
    const registered: RouteOptions[] = []
    const keyring = createKeyring(api.config, made)
    const app = buildApp({ ...api.deps, tenants: { ...api.deps.tenants, keyring: () => keyring } })
    onTestFinished(() => app.close())
    app.addHook('onRoute', (route) => void registered.push(route))
    // A request that is let in gets this instead of the route's work.
    app.addHook('preHandler', async (_request, reply) => reply.code(299).send())
    await app.ready()

    const routes = registered.flatMap(({ method, url, config }) =>
      [method].flat().map((name): Route => ({ method: String(name), url, access: config?.access })),
    )
    const asked = routes.filter(({ method }) => method !== 'OPTIONS')
    expect(asked.length).toBeGreaterThan(80)
    const undeclared = asked.filter(({ access }) => access === undefined)
    expect(undeclared.map(({ method, url }) => `${method} ${url}: say its access`)).toEqual([])

    const wrong: string[] = []
    for (const { method, url, access: declared } of asked) {
      // Its key may come in the first message.
      const access = url === '/v1/ws' ? 'read' : declared
      const path = url.replace(/:\w+/g, 'x').replace('*', 'x')
      const ask = async (key: string | null, more = {}) => {
        const headers = key === null ? {} : { authorization: `Bearer ${key}`, ...more }
        const { statusCode } = await app.inject({ method: method as 'GET', url: path, headers })
        return statusCode !== 401 && statusCode !== 403
      }
      if ((await ask(null)) !== (declared === 'public')) wrong.push(`${method} ${url} without a key`)
      for (const scope of scopes) {
        const isLetIn = await ask(`secret-of-${scope}`)
        if (isLetIn !== allowed[scope].includes(access!))
          wrong.push(`${method} ${url} with ${scope}: ${isLetIn}`)
      }
      const isReading = method === 'GET' || method === 'HEAD'
      const mayRead = ['public', 'read'].includes(access!) || (access === 'admin' && isReading)
      for (const more of [{}, { 'x-tenant': 'acme' }])
        if ((await ask(viewerKey, more)) !== mayRead)
          wrong.push(`${method} ${url} with a key that reads all, ${JSON.stringify(more)}: ${!mayRead}`)
      if (!(await ask(opsKey))) wrong.push(`${method} ${url} with an admin key of the configuration`)
    }
    expect(wrong).toEqual([])
  })
})
