import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTestApi, type TestApi } from '../../helpers/api.ts'
import { type Operation, readOperations } from '../../helpers/openapi.ts'

let api: TestApi
let operations: Operation[]
beforeAll(async () => {
  api = await createTestApi()
  ;({ operations } = await readOperations(api.app))
})
afterAll(() => api.close())

/** Routes that other makers' clients call. */
const COMPATIBLE =
  /^\/v1\/(chat|completions|embeddings|responses|messages|moderations|rerank|models|files|batches|conversations|images|audio|file-links)/
const isOurs = ({ path }: Operation) => path.startsWith('/v1/') && !COMPATIBLE.test(path)

const ask = ({ method, path }: Operation, query: string) =>
  api.app.inject({
    method,
    url: `${path.replaceAll(/\{[^}]*\}/g, 'job_1')}?${query}`,
    ...(method === 'POST' ? { headers: { 'content-type': 'application/json' }, payload: {} } : {}),
  })

describe('a query parameter that a route does not know', () => {
  it('is a 400 that names it, on every route of the job API', async () => {
    const ours = operations.filter(isOurs)
    expect(ours.length).toBeGreaterThan(20)
    for (const operation of ours) {
      for (const name of ['creatd_after', 'Limit', '__proto__', 'include[]', '*']) {
        const answer = await ask(operation, `${encodeURIComponent(name)}=2026-01-01`)
        const told = `${operation.method} ${operation.path} ${name}`
        expect(answer.statusCode, told).toBe(400)
        expect(answer.json().error.message, told).toContain(name)
        expect(answer.json().error.code, told).toBe('invalid_request')
      }
    }
  })

  it('is ignored where clients of OpenAI call, because they send more than is needed here', async () => {
    const sent = 'include[]=file_search_call.results&order=desc&limit=2&extra=1'
    for (const operation of operations.filter((one) => COMPATIBLE.test(one.path))) {
      const answer = await ask(operation, sent)
      if (answer.statusCode !== 400) continue
      expect(answer.json().error.param, operation.path).not.toMatch(/^query/)
    }
    for (const path of ['/v1/models', '/v1/files', '/v1/batches']) {
      expect((await api.app.inject({ url: `${path}?${sent}` })).statusCode, path).toBe(200)
    }
  })
})
