import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { createTestApi, type TestApi, testTenants } from '../../helpers/api.ts'

const browser = { accept: 'text/html,application/xhtml+xml,*/*;q=0.8' }

describe('the guide', () => {
  let folder: string
  let api: TestApi
  beforeAll(async () => {
    folder = await mkdtemp(join(process.env.SLUICE_TEST_RUN ?? tmpdir(), 'guide-'))
    const files = {
      'secret.txt': 'beside the site',
      'dist/index.html': 'home',
      'dist/404.html': 'no such page',
      'dist/openai.html': 'openai',
      'dist/recipes/index.html': 'recipes',
      'dist/assets/app.abc123.js': 'script',
      'dist/repository/bulk.py.txt': 'print(1)',
    }
    for (const [path, text] of Object.entries(files)) {
      await mkdir(join(folder, path, '..'), { recursive: true })
      await writeFile(join(folder, path), text)
    }
    api = await createTestApi({
      tenants: testTenants,
      overrides: { server: { folders: { dashboard: '', guide: join(folder, 'dist') } } },
    })
  })
  afterAll(async () => {
    await api.close()
    await rm(folder, { recursive: true })
  })

  it.each([
    ['/docs/guide/', 'home'],
    ['/docs/guide/openai', 'openai'],
    ['/docs/guide/openai.html', 'openai'],
    ['/docs/guide/recipes/', 'recipes'],
  ])('has a page at %s, without a key', async (url, text) => {
    const page = await api.app.inject({ url })
    expect([page.statusCode, page.body]).toEqual([200, text])
    expect(page.headers).toMatchObject({
      'content-type': 'text/html; charset=utf-8',
      'cache-control': 'no-cache',
      'x-content-type-options': 'nosniff',
      'content-security-policy':
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; img-src 'self' data:; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    })
  })

  it('has scripts that browsers may keep, and sources as text', async () => {
    const script = await api.app.inject({ url: '/docs/guide/assets/app.abc123.js' })
    expect(script.headers['cache-control']).toBe('public, max-age=31536000, immutable')
    const source = await api.app.inject({ url: '/docs/guide/repository/bulk.py.txt' })
    expect([source.body, source.headers['content-type']]).toEqual(['print(1)', 'text/plain; charset=utf-8'])
  })

  it('is where /docs/guide leads, beside the reference of the API', async () => {
    const answer = await api.app.inject({ url: '/docs/guide', headers: browser })
    expect([answer.statusCode, answer.headers.location]).toEqual([302, 'guide/'])
    const reference = (await api.app.inject({ url: '/docs/' })).body
    expect(reference).toContain('js/scalar.js')
    // Below the path of a proxy, too.
    expect(reference).toContain('"../openapi.json"')
    expect((await api.app.inject({ url: '/docs' })).headers.location).toBe('docs/')
  })

  it.each([
    '/docs/guide/none',
    '/docs/guide/404',
    '/docs/guide/../secret.txt',
    '/docs/guide/%2e%2e/secret.txt',
    '/docs/guide/..%2fsecret.txt',
    '/docs/guide/assets',
    '/docs/guide/openai/',
    '/docs/guide/a%00b',
  ])('has nothing at %s', async (url) => {
    const answer = await api.app.inject({ url })
    expect([answer.statusCode, answer.json().error.code]).toEqual([404, 'not_found'])
  })

  it('redirects to the slash of a folder, and from a missing page below one to the first folder', async () => {
    const lead = async (url: string) => {
      const { statusCode, headers } = await api.app.inject({ url, headers: browser })
      return [statusCode, headers.location]
    }
    expect(await lead('/docs/guide/recipes')).toEqual([302, 'recipes/'])
    expect(await lead('/docs/guide/recipes/none')).toEqual([302, '../404'])
    expect(await lead('/docs/guide/recipes/none/')).toEqual([302, '../../404'])
  })

  it('answers a browser that asks for a missing page with a page', async () => {
    const answer = await api.app.inject({ url: '/docs/guide/none', headers: browser })
    expect([answer.statusCode, answer.body]).toEqual([404, 'no such page'])
  })
})

it('says how to build it where it is not built', async () => {
  const api = await createTestApi()
  onTestFinished(api.close)
  for (const url of ['/docs/guide', '/docs/guide/', '/docs/guide/openai']) {
    const page = await api.app.inject({ url, headers: browser })
    expect([page.statusCode, page.headers['content-type']]).toEqual([503, 'text/html; charset=utf-8'])
    expect(page.body).toContain('<code>npm run docs:site</code>')
    const answer = await api.app.inject({ url })
    expect([answer.statusCode, answer.json().error.message]).toEqual([
      503,
      'the guide is not built here; build it with: npm run docs:site',
    ])
  }
})
