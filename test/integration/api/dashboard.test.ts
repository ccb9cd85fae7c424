import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { createTestApi, type TestApi, testTenants } from '../../helpers/api.ts'

const browser = { accept: 'text/html,application/xhtml+xml,*/*;q=0.8' }

describe('the page for operators', () => {
  let folder: string
  let api: TestApi
  beforeAll(async () => {
    folder = await mkdtemp(join(process.env.SLUICE_TEST_RUN ?? tmpdir(), 'page-'))
    await mkdir(join(folder, 'dist/assets'), { recursive: true })
    await writeFile(join(folder, 'secret.txt'), 'beside the page')
    await writeFile(join(folder, 'dist/index.html'), '<!doctype html><title>page</title>')
    await writeFile(join(folder, 'dist/.sources'), 'a stamp')
    await writeFile(join(folder, 'dist/assets/index-abc123.js'), 'script')
    api = await createTestApi({
      tenants: testTenants,
      overrides: { server: { folders: { dashboard: join(folder, 'dist'), guide: '' } } },
    })
  })
  afterAll(async () => {
    await api.close()
    await rm(folder, { recursive: true })
  })

  it('is served without a key, is revalidated each time, and may load from its own origin alone', async () => {
    const page = await api.app.inject({ url: '/dashboard/' })
    expect([page.statusCode, page.body]).toEqual([200, '<!doctype html><title>page</title>'])
    expect(page.headers).toMatchObject({
      'content-type': 'text/html; charset=utf-8',
      'cache-control': 'no-cache',
      'x-content-type-options': 'nosniff',
      'content-security-policy':
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data: blob:; media-src blob:; font-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    })
    const again = await api.app.inject({
      url: '/dashboard/',
      headers: { 'if-none-match': String(page.headers.etag) },
    })
    expect([again.statusCode, again.body]).toEqual([304, ''])
  })

  it('has parts that are cached for ever, because their names change with their content', async () => {
    const part = await api.app.inject({ url: '/dashboard/assets/index-abc123.js' })
    expect([part.statusCode, part.body]).toEqual([200, 'script'])
    expect(part.headers['cache-control']).toBe('public, max-age=31536000, immutable')
    expect(part.headers['content-type']).toContain('/javascript')
  })

  it.each(['/dashboard', '/'])('is where a browser that asks for %s is sent', async (url) => {
    const answer = await api.app.inject({ url, headers: browser })
    expect([answer.statusCode, answer.headers.location]).toEqual([302, 'dashboard/'])
  })

  it.each([
    '/dashboard/assets/none.js',
    '/dashboard/.sources',
    '/dashboard/../secret.txt',
    '/dashboard/%2e%2e/secret.txt',
    '/dashboard/..%2fsecret.txt',
    '/dashboard/assets',
    '/dashboard/a%00b',
  ])('has nothing at %s', async (url) => {
    const answer = await api.app.inject({ url })
    expect(answer.statusCode).toBe(404)
    expect(answer.json().error.code).toBe('not_found')
  })

  it('leaves the root path as it was for programs', async () => {
    const answer = await api.app.inject({ url: '/' })
    expect([answer.statusCode, answer.json().error.code]).toEqual([404, 'not_found'])
  })
})

it('says how to build it where it is not built', async () => {
  const api = await createTestApi()
  onTestFinished(api.close)
  for (const url of ['/dashboard', '/dashboard/', '/dashboard/assets/x.js']) {
    const page = await api.app.inject({ url, headers: browser })
    expect([page.statusCode, page.headers['content-type']]).toEqual([503, 'text/html; charset=utf-8'])
    expect(page.body).toContain('<code>npm run build</code>')
    const answer = await api.app.inject({ url })
    expect(answer.statusCode).toBe(503)
    expect(answer.json().error).toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('npm run build'),
    })
  }
})
