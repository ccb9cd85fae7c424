import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { chatJob, createTestApi, opsKey, type TestApi, testTenants } from '../../helpers/api.ts'
import { openBrowser } from '../../helpers/browser.ts'

let api: TestApi
let url: string
beforeAll(async () => {
  api = await createTestApi()
  url = await api.listen()
})
afterAll(() => api.close())

type Headers = Record<string, string>

/** By hand, because `fetch` writes `host` itself. */
function ask(method: string, path: string, headers: Headers, body?: object): Promise<[number, string]> {
  return new Promise((resolve, reject) => {
    const sent = request(url + path, {
      method,
      headers: { ...(body ? { 'content-type': 'application/json' } : {}), ...headers },
    })
    sent.on('error', reject).on('response', async (response) => {
      let text = ''
      for await (const chunk of response) text += chunk
      resolve([response.statusCode!, text])
    })
    sent.end(body && JSON.stringify(body))
  })
}

const jobs = async () => ((await (await fetch(`${url}/v1/jobs`)).json()) as { data: unknown[] }).data.length
const own = () => new URL(url).host

describe('a service without keys', () => {
  it.each(['127.0.0.1', '127.8.9.1:80', 'localhost', 'LOCALHOST:8080', '[::1]:8080', 'app.localhost:1'])(
    'is served under the name %s',
    async (host) => {
      expect((await ask('GET', '/v1/jobs', { host }))[0]).toBe(200)
    },
  )

  it.each([
    'evil.example',
    'evil.example:8080',
    '127.0.0.1.evil.example',
    'localhost.evil.example',
    'evillocalhost',
    '0.0.0.0:8080',
    '192.168.1.7',
    '[::2]',
  ])('is not served under the name %j: no page, no data, and nothing is changed', async (host) => {
    const before = await jobs()
    for (const path of ['/dashboard/', '/v1/jobs', '/healthz', '/openapi.json', '/nowhere']) {
      const [status, text] = await ask('GET', path, { host })
      expect([status, JSON.parse(text).error]).toMatchObject([403, { code: 'forbidden', param: 'host' }])
    }
    expect((await ask('POST', '/v1/jobs', { host }, chatJob()))[0]).toBe(403)
    expect(await jobs()).toBe(before)
  })

  const foreign: [Headers, string][] = [
    [{ origin: 'https://evil.example' }, 'origin'],
    [{ origin: 'http://localhost:1' }, 'origin'],
    [{ origin: 'null' }, 'origin'],
    [{ 'sec-fetch-site': 'cross-site' }, 'sec-fetch-site'],
    [{ 'sec-fetch-site': 'same-site' }, 'sec-fetch-site'],
  ]
  it.each(foreign)('does nothing for a page of another site: %j', async (headers, param) => {
    const before = await jobs()
    for (const [method, path, body] of [
      ['POST', '/v1/jobs', chatJob()],
      ['POST', '/v1/jobs/bulk', [chatJob()]],
      ['POST', '/v1/chat/completions', chatJob().body],
      ['POST', '/v1/jobs/retry', undefined],
      ['POST', '/v1/files', undefined],
      ['DELETE', '/v1/jobs/job_1', undefined],
      ['GET', '/v1/jobs', undefined],
      ['GET', '/v1/overview/events', undefined],
      ['POST', '/dashboard/', undefined],
      ['OPTIONS', '/v1/jobs', undefined],
    ] as const) {
      const [status, text] = await ask(method, path, headers, body)
      expect([status, JSON.parse(text).error], `${method} ${path}`).toMatchObject([
        403,
        { code: 'forbidden', param, message: expect.stringMatching(new RegExp(`^${param}: .*tenants`)) },
      ])
    }
    expect(await jobs()).toBe(before)
    // Pages without data may be linked to.
    expect((await ask('GET', '/dashboard/', headers))[0]).not.toBe(403)
  })

  it('serves its own page, a typed address, and every client that is not a browser', async () => {
    for (const headers of [
      { origin: url, 'sec-fetch-site': 'same-origin' },
      { origin: `https://${own()}` },
      { 'sec-fetch-site': 'none' },
      {},
    ] as Headers[]) {
      expect((await ask('POST', '/v1/jobs', headers, chatJob()))[0]).toBe(202)
      expect((await ask('GET', '/v1/jobs', headers))[0]).toBe(200)
    }
  })
})

it('with keys it does not check names and origins', async () => {
  const closed = await createTestApi({ tenants: testTenants })
  const headers = {
    authorization: `Bearer ${opsKey}`,
    host: 'sluice.example',
    origin: 'https://app.example',
    'sec-fetch-site': 'cross-site',
  }
  expect((await closed.app.inject({ url: '/v1/jobs', headers })).statusCode).toBe(200)
  await closed.close()
})

describe('from a browser', () => {
  let browser: Browser
  const pages = createServer((_request, response) =>
    response.setHeader('content-type', 'text/html').end('<!doctype html><title>another</title>'),
  )
  beforeAll(async () => {
    browser = await openBrowser()
    await new Promise<void>((resolve) => pages.listen(0, '127.0.0.1', () => resolve()))
  }, 60_000)
  afterAll(async () => {
    await browser?.close()
    pages.close()
  })

  it('a page of another origin reads nothing and changes nothing, however it asks', async () => {
    const page = await browser.newPage()
    const { port } = pages.address() as AddressInfo
    await page.goto(`http://localhost:${port}/`)
    const before = await jobs()
    const answers: string[] = []
    page.on('response', (response) => {
      if (response.url().startsWith(url)) answers.push(`${response.request().method()} ${response.status()}`)
    })
    const read = await page.evaluate(
      async ([base, job]) => {
        const tries = [
          () => fetch(`${base}/v1/jobs`),
          () => fetch(`${base}/v1/jobs`, { method: 'POST', mode: 'no-cors', body: job! }),
          () => fetch(`${base}/v1/jobs/retry`, { method: 'POST', mode: 'no-cors' }),
          () =>
            fetch(`${base}/v1/jobs`, {
              method: 'POST',
              headers: { 'content-type': 'application/json' },
              body: job!,
            }),
        ]
        const texts = []
        for (const one of tries)
          texts.push(
            await one()
              .then((answer) => answer.text())
              .catch(() => ''),
          )
        return texts
      },
      [url, JSON.stringify(chatJob())],
    )
    expect(read).toEqual(['', '', '', ''])
    const [posted] = await Promise.all([
      page.waitForResponse((response) => response.request().isNavigationRequest()),
      page.evaluate(`{
        const form = document.createElement('form')
        Object.assign(form, { method: 'post', action: '${url}/v1/jobs/retry' })
        document.body.append(form)
        form.submit()
      }`),
    ])
    expect(posted.status()).toBe(403)
    expect(new Set(answers.map((answer) => answer.split(' ')[1]))).toEqual(new Set(['403']))
    expect(await jobs()).toBe(before)
  }, 60_000)

  it('a name of a page that resolves to this machine reads nothing and changes nothing', async () => {
    const rebound = await browser.newContext()
    const page = await rebound.newPage()
    const { port } = new URL(url)
    // The resolver decides where the name leads; the browser sends the same bytes.
    await page.route('http://evil.example:*/**', async (route) => {
      const { method, body } = { method: route.request().method(), body: route.request().postData() }
      const [status, text] = await ask(
        method,
        new URL(route.request().url()).pathname,
        {
          ...route.request().headers(),
          host: `evil.example:${port}`,
        },
        body === null ? undefined : JSON.parse(body),
      )
      await route.fulfill({ status, body: text, contentType: 'application/json' })
    })
    const before = await jobs()
    const shown = await page.goto(`http://evil.example:${port}/dashboard/`)
    expect(shown!.status()).toBe(403)
    const status = await page.evaluate(async (job) => {
      const answer = await fetch('/v1/jobs', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: job,
      })
      return [answer.status, (await fetch('/v1/jobs')).status]
    }, JSON.stringify(chatJob()))
    expect(status).toEqual([403, 403])
    expect(await jobs()).toBe(before)
    await rebound.close()
  }, 60_000)
})
