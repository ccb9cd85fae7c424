import { describe, expect, it } from 'vitest'
import { SluiceError } from '../../../client/errors.ts'
import { createHttp, type Fetch, type HttpDeps } from '../../../client/http.ts'

type Step = { status: number; headers?: Record<string, string>; body?: unknown } | { lost: string }

/** A server that answers in these steps, and the waits of the client between them. */
function openHttp(steps: Step[], changes: Partial<HttpDeps> = {}) {
  const waits: number[] = []
  const sent: { url: string; init: RequestInit | undefined }[] = []
  const fetch: Fetch = async (url, init) => {
    sent.push({ url, init })
    const step = steps[Math.min(sent.length, steps.length) - 1]!
    if ('lost' in step) throw new TypeError('fetch failed', { cause: new Error(step.lost) })
    const body = typeof step.body === 'string' ? step.body : JSON.stringify(step.body ?? {})
    return new Response(body, { status: step.status, headers: step.headers ?? {} })
  }
  const http = createHttp({
    url: 'http://sluice.test/',
    headers: { authorization: 'Bearer key' },
    fetch,
    retries: { attempts: 4, firstWaitMs: 100, longestWaitMs: 5_000 },
    timeoutMs: 1_000,
    silenceMs: 1_000,
    random: () => 0.5,
    sleep: async (ms) => void waits.push(ms),
    ...changes,
  })
  return { http, waits, sent }
}

const refusal = (code: string) => ({ error: { message: `it is ${code}`, type: 'any', param: 'model', code } })
const failed = (promise: Promise<unknown>) =>
  promise.then(
    () => null,
    (error: unknown) => error as SluiceError,
  )

describe('requests', () => {
  it('are sent again, ever later, until one is answered', async () => {
    const { http, waits, sent } = openHttp([
      { lost: 'ECONNREFUSED' },
      { status: 503 },
      { status: 502, body: '<html>' },
      { status: 200, body: { ok: true } },
    ])
    expect(await http.json('POST', '/v1/jobs', { body: '{}', contentType: 'application/json' })).toEqual({
      ok: true,
    })
    expect(waits).toEqual([75, 150, 300])
    expect(sent).toHaveLength(4)
    expect(sent[3]).toMatchObject({
      url: 'http://sluice.test/v1/jobs',
      init: { method: 'POST', body: '{}', headers: { authorization: 'Bearer key' } },
    })
  })

  it('are not sent to another place: a POST that is redirected would not make a job', async () => {
    const { http, sent } = openHttp([{ status: 301, headers: { location: 'https://sluice.test/v1/jobs' } }])
    expect(await failed(http.json('POST', '/v1/jobs', { body: '{}' }))).toMatchObject({
      code: 'invalid_answer',
      status: 301,
      isRetryable: false,
    })
    expect(sent).toMatchObject([{ init: { redirect: 'manual' } }])
  })

  it('come back no sooner than the server asks, and not at all when that is too long', async () => {
    const soon = openHttp([{ status: 429, headers: { 'retry-after': '2' } }, { status: 200 }])
    await soon.http.json('GET', '/')
    expect(soon.waits).toEqual([2_075])
    const late = openHttp([
      { status: 429, headers: { 'retry-after': '3600' }, body: refusal('budget_exhausted') },
    ])
    expect(await failed(late.http.json('GET', '/'))).toMatchObject({
      status: 429,
      code: 'budget_exhausted',
      retryAfterSeconds: 3600,
      isRetryable: true,
    })
    expect(late.sent).toHaveLength(1)
  })

  it('that are refused for good are not sent again, and the error says why', async () => {
    const headers = { 'x-should-retry': 'false', 'x-request-id': 'request-1' }
    for (const status of [400, 404, 422, 500]) {
      const { http, sent } = openHttp([{ status, headers, body: refusal('invalid_request') }])
      const error = await failed(http.json('GET', '/'))
      expect(error).toBeInstanceOf(SluiceError)
      expect(error).toMatchObject({
        status,
        code: 'invalid_request',
        message: 'it is invalid_request',
        param: 'model',
        requestId: 'request-1',
        isRetryable: false,
      })
      expect(sent).toHaveLength(1)
    }
  })

  it('give up after so many attempts, with the last error', async () => {
    const { http, sent } = openHttp([{ lost: 'ECONNREFUSED' }])
    expect(await failed(http.json('GET', '/'))).toMatchObject({
      status: null,
      code: 'unreachable',
      message: 'http://sluice.test does not answer: ECONNREFUSED',
    })
    expect(sent).toHaveLength(4)
  })

  it('that may have done their work are not sent again when the connection broke, but when they were refused', async () => {
    const lost = openHttp([{ lost: 'ECONNRESET' }])
    expect(await failed(lost.http.json('POST', '/', { isRepeatable: false }))).toMatchObject({
      code: 'unreachable',
    })
    expect(lost.sent).toHaveLength(1)
    const lostBehind = openHttp([{ status: 504 }, { status: 200 }])
    expect(await failed(lostBehind.http.json('POST', '/', { isRepeatable: false }))).toMatchObject({
      status: 504,
    })
    const refused = openHttp([{ status: 503 }, { status: 200 }])
    await refused.http.json('POST', '/', { isRepeatable: false })
    expect(refused.sent).toHaveLength(2)
  })

  it('end after their time, and with the reason of the signal', async () => {
    const hang: Fetch = (_url, init) =>
      new Promise((_resolve, reject) =>
        init!.signal!.addEventListener('abort', () => reject(init!.signal!.reason)),
      )
    const { http } = openHttp([], { fetch: hang, timeoutMs: 10 })
    expect(await failed(http.json('GET', '/'))).toMatchObject({
      code: 'unreachable',
      message: expect.stringContaining('within 10 ms'),
    })
    const reason = new Error('no longer wanted')
    await expect(http.json('GET', '/', { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
  })

  it('that get something else than JSON are an error of their own', async () => {
    const { http } = openHttp([{ status: 200, body: '<html>' }])
    expect(await failed(http.json('GET', '/'))).toMatchObject({ code: 'invalid_answer' })
  })
})

it('a stream that is silent for too long counts as broken', async () => {
  const { http } = openHttp([], {
    silenceMs: 10,
    fetch: async (_url, init) => {
      const body = new ReadableStream({
        start: (controller) =>
          init!.signal!.addEventListener('abort', () => controller.error(init!.signal!.reason)),
      })
      return new Response(body)
    },
  })
  const answer = await http.open('GET', '/')
  await expect(answer.read()).rejects.toThrow('silent for 10 ms')
})
