import { Validator } from '@seriousme/openapi-schema-validator'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { errorTable } from '../../../api/errors.ts'
import { createTestApi, type TestApi } from '../../helpers/api.ts'

type Operation = {
  operationId?: string
  summary?: string
  tags?: string[]
  responses: Record<string, unknown>
}
type Document = {
  openapi: string
  paths: Record<string, Record<string, Operation>>
  components: { schemas: Record<string, unknown> }
}

const routes = [
  'post /v1/jobs',
  'get /v1/jobs',
  'post /v1/jobs/bulk',
  'post /v1/estimate',
  'post /v1/jobs/retry',
  'get /v1/jobs/{id}',
  'delete /v1/jobs/{id}',
  'get /v1/jobs/{id}/attempts',
  'post /v1/jobs/{id}/cancel',
  'post /v1/jobs/{id}/retry',
  'get /v1/jobs/{id}/events',
  'get /v1/jobs/{id}/deliveries',
  'get /v1/groups/{group}',
  'get /v1/groups/{group}/events',
  'post /v1/deliveries/{id}/redeliver',
  'get /v1/lanes',
  'get /v1/lanes/{lane}',
  'post /v1/lanes/{lane}/pause',
  'post /v1/lanes/{lane}/resume',
  'post /v1/chat/completions',
  'post /v1/embeddings',
  'get /v1/models',
  'get /healthz',
  'get /readyz',
  'get /metrics',
]

let api: TestApi
let document: Document
beforeAll(async () => {
  api = await createTestApi()
  document = (await api.app.inject({ url: '/openapi.json' })).json()
})
afterAll(() => api.close())

const operations = () =>
  Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ route: `${method} ${path}`, operation })),
  )

describe('the OpenAPI document', () => {
  it('is valid OpenAPI 3.1', async () => {
    expect(document.openapi).toMatch(/^3\.1\./)
    const result = await new Validator().validate(structuredClone(document))
    expect(result).toMatchObject({ valid: true })
  })

  it('has every route, each once by name, and nothing else', () => {
    expect(operations().map(({ route }) => route)).toEqual(expect.arrayContaining(routes))
    const names = operations().map(({ operation }) => operation.operationId)
    expect(new Set(names).size).toBe(names.length)
    expect(operations().filter(({ route }) => route.includes('docs'))).toEqual([])
  })

  it('says of every route what it does and how it fails', () => {
    for (const { route, operation } of operations()) {
      expect(operation.summary, route).toBeTypeOf('string')
      expect(operation.tags, route).toHaveLength(1)
      expect(Object.keys(operation.responses), route).toEqual(expect.arrayContaining(['4XX', '5XX']))
    }
  })

  it('refers only to components that it has, and has only those it refers to', () => {
    const referred = new Set(
      [...JSON.stringify(document).matchAll(/"#\/components\/schemas\/([^"]+)"/g)].map(([, name]) => name),
    )
    expect([...referred].sort()).toEqual(Object.keys(document.components.schemas).sort())
  })

  it('lists every error code', () => {
    expect(document.components.schemas.ErrorMembers).toMatchObject({
      properties: { code: { enum: Object.keys(errorTable) } },
      required: ['message', 'type', 'param', 'code'],
    })
  })

  it('shows the forms of bulk uploads and of event streams', () => {
    const bulk = document.paths['/v1/jobs/bulk']!.post as unknown as { requestBody: { content: object } }
    expect(Object.keys(bulk.requestBody.content)).toEqual(['application/json', 'application/x-ndjson'])
    const events = document.paths['/v1/jobs/{id}/events']!.get!.responses['200'] as { content: object }
    expect(Object.keys(events.content)).toEqual(['text/event-stream'])
  })
})

describe('the page that reads it', () => {
  it('loads nothing from elsewhere, and its policy forbids it', async () => {
    const page = await api.app.inject({ url: '/docs/' })
    const policy = String(page.headers['content-security-policy'])
    expect(policy).toContain("default-src 'none'")
    expect(policy).toMatch(/script-src 'self' 'sha256-[\w+/=]+';/)
    expect(policy).not.toMatch(/https?:/)
    expect([...page.body.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, target]) => target)).toEqual([
      'js/scalar.js',
    ])
    expect(page.body).toContain('"withDefaultFonts": false')
    expect(page.body).toContain('"telemetry": false')
    // No toolbar and no button of its vendor.
    expect(page.body).toContain('"showDeveloperTools": "never"')
    expect(page.body).toContain('"hideClientButton": true')
  })

  it('leaves the strict policy of the other routes alone', async () => {
    const { headers } = await api.app.inject({ url: '/healthz' })
    expect(headers['content-security-policy']).toBe("default-src 'none';frame-ancestors 'none'")
    expect(headers['x-content-type-options']).toBe('nosniff')
  })
})

describe('readiness', () => {
  it('is refused with the reason while the process cannot serve', async () => {
    const states = [{ ok: false, reason: 'Redis does not answer' }, { ok: true }]
    const api = await createTestApi({ overrides: { server: { ready: async () => states.shift()! } } })
    const refused = await api.app.inject({ url: '/readyz' })
    expect([refused.statusCode, refused.json().error]).toEqual([
      503,
      { message: 'Redis does not answer', type: 'server_error', param: null, code: 'unavailable' },
    ])
    expect((await api.app.inject({ url: '/readyz' })).json()).toEqual({ status: 'ok', version: '0.0.0-test' })
    await api.close()
  })
})
