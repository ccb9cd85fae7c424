import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { describe, expect, it, onTestFinished } from 'vitest'
import {
  acmeKey,
  createTestApi,
  otherKey,
  type TestApi,
  type TestApiOptions,
  testTenants,
} from '../../helpers/api.ts'
import { keysOf } from '../../helpers/redis.ts'
import { until } from '../../helpers/store.ts'

type Reply = { status: number; headers: Headers; text: string; body: Record<string, unknown> }
type Piece = Buffer | string
type Started = TestApi & { url: string }

const boundary = 'a-boundary-of-the-tests'
const formType = { 'content-type': `multipart/form-data; boundary=${boundary}` }
const purposePart = `--${boundary}\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n`
const fileHead = `--${boundary}\r\ncontent-disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n`
const formEnd = `\r\n--${boundary}--\r\n`

async function start(options: TestApiOptions = {}): Promise<Started> {
  const api = await createTestApi(options)
  onTestFinished(() => api.close())
  return Object.assign(api, { url: await api.listen() })
}

async function call(api: Started, method: string, path: string, init: RequestInit = {}): Promise<Reply> {
  const response = await fetch(`${api.url}/v1/files${path}`, { method, ...init })
  const text = await response.text()
  const isJson = response.headers.get('content-type')?.startsWith('application/json')
  return { status: response.status, headers: response.headers, text, body: isJson ? JSON.parse(text) : {} }
}

/** Sends the members of a form in the order given. */
async function send(api: Started, members: [string, string | File][], key?: string): Promise<Reply> {
  const body = new FormData()
  for (const [name, value] of members) body.append(name, value)
  return call(api, 'POST', '', { body, ...(key === undefined ? {} : { headers: bearer(key) }) })
}

const bearer = (key: string) => ({ authorization: `Bearer ${key}` })
const fileOf = (content: string | Uint8Array<ArrayBuffer> = '{}\n', name = 'input.jsonl') =>
  new File([content], name)
const upload = (api: Started, content?: string | Uint8Array<ArrayBuffer>, key?: string) =>
  send(
    api,
    [
      ['purpose', 'batch'],
      ['file', fileOf(content)],
    ],
    key,
  )
const message = (reply: Reply) => (reply.body.error as { message: string }).message

/** Sends pieces, each in one write; returns the connection, and the answer as soon as there is one. */
function sendPieces(
  api: Started,
  pieces: Iterable<Piece> | AsyncIterable<Piece>,
  headers: object = formType,
) {
  const request = httpRequest(`${api.url}/v1/files`, { method: 'POST', headers: { ...headers } })
  request.on('error', () => {})
  onTestFinished(() => void request.destroy())
  const answered = (once(request, 'response') as Promise<[IncomingMessage]>).then(async ([response]) => {
    const parts: Buffer[] = []
    for await (const part of response) parts.push(part)
    return { status: response.statusCode, body: JSON.parse(Buffer.concat(parts).toString()) }
  })
  // Not every test waits for it.
  answered.catch(() => {})
  const pump = async () => {
    for await (const piece of pieces) {
      if (request.destroyed) return
      await new Promise<void>((resolve) => request.write(piece, () => resolve()))
    }
    request.end()
  }
  return { request, answered, sent: pump() }
}

/** Keys of parts and records in the store. */
const fileKeys = async (api: TestApi) =>
  (await keysOf(api.redis, `${api.root()}:file:*`)).filter((key) => !key.endsWith(':gone'))

describe('an uploaded file', () => {
  it('is shown as OpenAI shows it, and comes back byte for byte', async () => {
    const api = await start()
    const content = new Uint8Array(randomBytes(3_000_000))
    const before = Math.floor(Date.now() / 1000)
    const created = await upload(api, content)
    expect(created.status).toBe(200)
    const createdAt = created.body.created_at as number
    expect(created.body).toEqual({
      id: expect.stringMatching(/^file-[0-9a-f]{32}$/),
      object: 'file',
      bytes: 3_000_000,
      created_at: expect.any(Number),
      expires_at: createdAt + 30 * 86_400,
      filename: 'input.jsonl',
      purpose: 'batch',
      status: 'processed',
    })
    expect(createdAt - before).toBeLessThanOrEqual(10)
    expect(createdAt).toBeGreaterThanOrEqual(before)
    expect((await call(api, 'GET', `/${created.body.id}`)).body).toEqual(created.body)

    const response = await fetch(`${api.url}/v1/files/${created.body.id}/content`)
    expect(response.headers.get('content-type')).toBe('application/octet-stream')
    expect(response.headers.get('content-length')).toBe('3000000')
    expect(response.headers.get('x-content-type-options')).toBe('nosniff')
    expect(Buffer.from(content).equals(Buffer.from(await response.arrayBuffer()))).toBe(true)
  })

  it('may be before, between or after the fields of the form', async () => {
    const api = await start()
    const fields: [string, string][] = [
      ['purpose', 'batch'],
      ['expires_after[anchor]', 'created_at'],
      ['expires_after[seconds]', '3600'],
    ]
    for (const place of [0, 1, 3]) {
      const { status, body } = await send(api, fields.toSpliced(place, 0, ['file', fileOf()] as never))
      expect(status).toBe(200)
      expect(body.expires_at).toBe((body.created_at as number) + 3600)
    }
  })

  it.each([
    ['plain.jsonl', 'plain.jsonl', 'plain.jsonl'],
    ['größe "x".jsonl', 'gr__e _x_.jsonl', 'gr%C3%B6%C3%9Fe%20%22x%22.jsonl'],
    ['../../etc/passwd', 'passwd', 'passwd'],
    ["it's (1)*.jsonl", "it's (1)*.jsonl", 'it%27s%20%281%29%2A.jsonl'],
  ])('named %s keeps its name, which comes back in a header', async (name, plain, encoded) => {
    const api = await start()
    const { body } = await send(api, [
      ['purpose', 'batch'],
      ['file', fileOf('x', name)],
    ])
    const response = await fetch(`${api.url}/v1/files/${body.id}/content`)
    await response.text()
    expect(response.headers.get('content-disposition')).toBe(
      `attachment; filename="${plain}"; filename*=UTF-8''${encoded}`,
    )
    expect(decodeURIComponent(encoded)).toBe(body.filename)
  })

  it('may arrive in pieces cut anywhere', async () => {
    const api = await start()
    const content = randomBytes(500)
    const whole = Buffer.concat([
      Buffer.from(fileHead),
      content,
      Buffer.from(`\r\n${purposePart.trimEnd()}${formEnd}`),
    ])
    for (const size of [1, 7, 64]) {
      const pieces = Array.from({ length: Math.ceil(whole.length / size) }, (_, n) =>
        whole.subarray(n * size, (n + 1) * size),
      )
      const { status, body } = await sendPieces(api, pieces).answered
      expect(status).toBe(200)
      const response = await fetch(`${api.url}/v1/files/${body.id}/content`)
      expect(content.equals(Buffer.from(await response.arrayBuffer()))).toBe(true)
    }
  })

  it('is gone when it is deleted', async () => {
    const api = await start()
    const { body } = await upload(api)
    const deleted = await call(api, 'DELETE', `/${body.id}`)
    expect(deleted.body).toEqual({ id: body.id, object: 'file', deleted: true })
    for (const [method, path] of [
      ['GET', ''],
      ['GET', '/content'],
      ['DELETE', ''],
    ] as const) {
      expect((await call(api, method, `/${body.id}${path}`)).status).toBe(404)
    }
    expect(await fileKeys(api)).toEqual([])
  })
})

describe('a form is refused, and nothing kept of it,', () => {
  const refusals: [string, [string, string | File][], string, string][] = [
    ['without a file', [['purpose', 'batch']], 'file', 'file: is required'],
    [
      'with a text for a file',
      [
        ['purpose', 'batch'],
        ['file', '{}'],
      ],
      'file',
      'file: is required',
    ],
    [
      'with an empty file',
      [
        ['purpose', 'batch'],
        ['file', fileOf('')],
      ],
      'file',
      'file: is empty',
    ],
    [
      'with its file under another name',
      [
        ['purpose', 'batch'],
        ['upload', fileOf()],
      ],
      'file',
      'file: is required',
    ],
    [
      'with two files',
      [
        ['purpose', 'batch'],
        ['file', fileOf()],
        ['file', fileOf()],
      ],
      'file',
      'file: expected one file',
    ],
    [
      'without a purpose',
      [['file', fileOf()]],
      'purpose',
      'purpose: expected "batch", "vision" or "user_data"; it is missing',
    ],
    [
      'with another purpose behind',
      [
        ['file', fileOf()],
        ['purpose', 'fine-tune'],
      ],
      'purpose',
      'purpose: expected "batch"',
    ],
    [
      'with another purpose before',
      [
        ['purpose', 'assistants'],
        ['file', fileOf()],
      ],
      'purpose',
      'purpose: expected "batch"',
    ],
    [
      'with an unknown field',
      [
        ['purpose', 'batch'],
        ['file', fileOf()],
        ['colour', 'red'],
      ],
      'colour',
      'colour: is not a member known here',
    ],
    [
      'that expires too soon',
      [
        ['purpose', 'batch'],
        ['file', fileOf()],
        ['expires_after[anchor]', 'created_at'],
        ['expires_after[seconds]', '3599'],
      ],
      'expires_after.seconds',
      'expires_after.seconds: expected at least 3600',
    ],
    [
      'that expires too late',
      [
        ['expires_after[anchor]', 'created_at'],
        ['expires_after[seconds]', '2592001'],
        ['purpose', 'batch'],
        ['file', fileOf()],
      ],
      'expires_after.seconds',
      'expires_after.seconds: expected at most 2592000',
    ],
    [
      'that expires after something else',
      [
        ['purpose', 'batch'],
        ['file', fileOf()],
        ['expires_after[anchor]', 'last_used'],
        ['expires_after[seconds]', '3600'],
      ],
      'expires_after.anchor',
      'expires_after.anchor: expected "created_at"',
    ],
    [
      'that expires without saying after what',
      [
        ['purpose', 'batch'],
        ['file', fileOf()],
        ['expires_after[seconds]', '3600'],
      ],
      'expires_after.anchor',
      'expires_after.anchor: expected "created_at"; it is missing',
    ],
    [
      'with a very long name',
      [
        ['purpose', 'batch'],
        ['file', fileOf('x', 'x'.repeat(600))],
      ],
      'file',
      'file: expected a filename',
    ],
    [
      'with a very long field',
      [
        ['purpose', 'b'.repeat(5_000)],
        ['file', fileOf()],
      ],
      '',
      'too long',
    ],
  ]
  it.each(refusals)('%s', async (_what, members, param, text) => {
    const api = await start()
    const reply = await send(api, members)
    expect(message(reply)).toContain(text)
    expect(reply.status).toBe(400)
    expect(reply.body.error).toMatchObject({
      code: 'invalid_request',
      type: 'invalid_request_error',
      param: param || null,
    })
    expect(reply.headers.get('x-should-retry')).toBe('false')
    expect(await fileKeys(api)).toEqual([])
  })

  const malformed: [string, Record<string, string>, Piece[]][] = [
    ['cut off in its file', formType, [purposePart, fileHead, 'half']],
    ['cut off behind its file', formType, [purposePart, fileHead, `whole\r\n--${boundary}\r\n`]],
    ['of no parts', formType, ['nothing of the kind']],
    ['of no bytes', formType, []],
    ['without a boundary', { 'content-type': 'multipart/form-data' }, [purposePart]],
    [
      'with the name of a prototype',
      formType,
      [purposePart.replace('purpose', '__proto__'), fileHead, 'x', formEnd],
    ],
    ['that is JSON', { 'content-type': 'application/json' }, ['{"purpose":"batch"}']],
    ['that is text', { 'content-type': 'text/plain' }, ['purpose=batch']],
    ['that is compressed', { ...formType, 'content-encoding': 'gzip' }, [purposePart]],
  ]
  it.each(malformed)('%s', async (_what, headers, pieces) => {
    const api = await start()
    const { status, body } = await sendPieces(api, pieces, headers).answered
    expect(body.error).toMatchObject({ code: 'invalid_request', type: 'invalid_request_error' })
    expect(status).toBe(400)
    expect(await fileKeys(api)).toEqual([])
    expect(api.logged).toEqual([])
  })

  it('with more fields than any form has', async () => {
    const api = await start()
    const fields = Array.from({ length: 50 }, (_, n): [string, string] => [`field${n}`, 'x'])
    const reply = await send(api, [...fields, ['file', fileOf()]])
    expect(reply.status).toBe(400)
    expect(await fileKeys(api)).toEqual([])
  })
})

describe('the size of an upload', () => {
  const megabyte = Buffer.alloc(1_000_000, 'x')
  async function* endless(count: { sent: number }): AsyncGenerator<Piece> {
    yield purposePart
    yield fileHead
    for (;;) {
      count.sent += megabyte.length
      yield megabyte
    }
  }

  it('may be the limit and not a byte more', async () => {
    const api = await start({ limits: { fileBytes: 100_000 } })
    expect((await upload(api, 'x'.repeat(100_000))).status).toBe(200)
    const reply = await upload(api, 'x'.repeat(100_001))
    expect(reply.status).toBe(413)
    expect(reply.body.error).toEqual({
      message: 'file: is larger than 100000 bytes',
      type: 'invalid_request_error',
      param: 'file',
      code: 'payload_too_large',
    })
    expect((await call(api, 'GET', '')).body.data).toHaveLength(1)
  })

  it('is refused at its limit, however much is still to come', async () => {
    const api = await start({ limits: { fileBytes: 3_000_000 } })
    const count = { sent: 0 }
    const { answered, request } = sendPieces(api, endless(count))
    const { status, body } = await answered
    expect(status).toBe(413)
    expect(body.error.code).toBe('payload_too_large')
    expect(count.sent).toBeLessThan(60_000_000)
    request.destroy()
    await until(async () => (await fileKeys(api)).length === 0)
  })

  it('that the headers state is believed', async () => {
    const api = await start({ limits: { fileBytes: 1_000_000 } })
    const headers = { ...formType, 'content-length': String(5_000_000) }
    const { status } = await sendPieces(
      api,
      [purposePart, Buffer.alloc(5_000_000 - purposePart.length)],
      headers,
    ).answered
    expect(status).toBe(413)
  })

  it('counts the form around the file as well', async () => {
    const api = await start({ limits: { fileBytes: 1_000 } })
    async function* preamble() {
      for (let sent = 0; sent < 5; sent++) yield megabyte
    }
    expect((await sendPieces(api, preamble()).answered).status).toBe(413)
  })

  it('may not exceed the storage of its tenant', async () => {
    const api = await start()
    api.config.files.max_bytes_per_tenant = 1_000
    expect((await upload(api, 'x'.repeat(600))).status).toBe(200)
    const reply = await upload(api, 'x'.repeat(600))
    expect(reply.status).toBe(413)
    expect(reply.body.error).toMatchObject({ code: 'storage_full', param: 'file' })
    expect(reply.headers.get('x-should-retry')).toBe('false')
  })
})

describe('an upload that stalls', () => {
  it('is answered 408, and what arrived is removed', async () => {
    const api = await start({ limits: { bulkIdleTimeout: 200 } })
    const { answered } = sendPieces(
      api,
      (async function* () {
        yield purposePart
        yield fileHead
        yield Buffer.alloc(1_500_000)
        await new Promise(() => {})
      })(),
    )
    const { status, body } = await answered
    expect(status).toBe(408)
    expect(body.error.code).toBe('request_timeout')
    expect(await fileKeys(api)).toEqual([])
  })

  it('before its file gets the same answer', async () => {
    const api = await start({ limits: { bulkIdleTimeout: 200 } })
    const { answered } = sendPieces(
      api,
      (async function* () {
        yield purposePart
        await new Promise(() => {})
      })(),
    )
    expect((await answered).status).toBe(408)
  })

  it('at no single time, but takes too long altogether, gets the same answer', async () => {
    const api = await start({ limits: { bulkIdleTimeout: 5_000, bulkTimeout: 400 } })
    const { answered } = sendPieces(
      api,
      (async function* () {
        yield purposePart + fileHead
        for (;;) {
          yield 'x'
          await new Promise((resolve) => setTimeout(resolve, 20))
        }
      })(),
    )
    expect((await answered).status).toBe(408)
  })

  it('and then breaks leaves nothing behind', async () => {
    const api = await start()
    const { request } = sendPieces(
      api,
      (async function* () {
        yield purposePart + fileHead
        yield Buffer.alloc(1_500_000)
        await new Promise(() => {})
      })(),
    )
    await until(async () => (await fileKeys(api)).length > 0)
    request.destroy()
    await until(async () => (await fileKeys(api)).length === 0)
    expect(api.logged).toEqual([])
  })
})

describe('while the store has problems', () => {
  it('an upload into full memory is answered 503, and nothing else is', async () => {
    const api = await start({ own: true })
    const { body } = await upload(api)
    await api.redis.config('SET', 'maxmemory', '1')
    const reply = await upload(api)
    expect(reply.status).toBe(503)
    expect(reply.body.error).toMatchObject({ code: 'unavailable', type: 'server_error' })
    expect(reply.headers.get('retry-after')).not.toBeNull()
    expect((await call(api, 'GET', `/${body.id}/content`)).text).toBe('{}\n')
    expect((await call(api, 'DELETE', `/${body.id}`)).status).toBe(200)
  })

  it('an upload waits with it, and memory does not fill', async () => {
    const api = await start({ own: true, patient: true })
    await upload(api)
    const thaw = api.freeze()
    let sent = 0
    const block = Buffer.alloc(100_000)
    const { answered } = sendPieces(
      api,
      (async function* () {
        yield purposePart + fileHead
        for (; sent < 40_000_000; sent += block.length) yield block
        yield formEnd
      })(),
    )
    let before = -1
    // Until no more is accepted.
    await until(async () => {
      const stands = sent === before
      before = sent
      await new Promise((resolve) => setTimeout(resolve, 200))
      return stands && sent > 0
    })
    expect(sent).toBeLessThan(20_000_000)
    thaw()
    expect((await answered).status).toBe(200)
  })

  it('a download whose first bytes cannot be read is answered 503', async () => {
    const api = await start({ own: true })
    const { body } = await upload(api)
    api.freeze()
    expect((await call(api, 'GET', `/${body.id}/content`)).status).toBe(503)
  })
})

describe('a download', () => {
  it('is read no faster than the client takes it, and no further once the client has left', async () => {
    const api = await start({ own: true })
    const { body } = await upload(api, new Uint8Array(randomBytes(40_000_000)))
    const reads = async () => {
      const stats = String(await api.redis.info('commandstats'))
      return Number(/cmdstat_get:calls=(\d+)/.exec(stats)?.[1] ?? 0)
    }
    const before = await reads()
    const request = httpRequest(`${api.url}/v1/files/${body.id}/content`).end()
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    let seen = -1
    await until(async () => {
      const stands = (await reads()) === seen
      seen = await reads()
      await new Promise((resolve) => setTimeout(resolve, 200))
      return stands
    })
    expect(seen - before).toBeLessThan(25)
    response.destroy()
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect((await reads()) - seen).toBeLessThanOrEqual(1)
  })

  it('of a file that is deleted midway breaks off rather than ends', async () => {
    const api = await start()
    const { body } = await upload(api, new Uint8Array(randomBytes(40_000_000)))
    const response = await fetch(`${api.url}/v1/files/${body.id}/content`)
    await call(api, 'DELETE', `/${body.id}`)
    await expect(response.arrayBuffer()).rejects.toThrow()
  })
})

describe('the list of files', () => {
  it('has the envelope of lists, newest first, and pages', async () => {
    const api = await start()
    expect((await call(api, 'GET', '')).body).toEqual({
      object: 'list',
      data: [],
      has_more: false,
      first_id: null,
      last_id: null,
    })
    const ids: unknown[] = []
    for (let count = 0; count < 5; count++) ids.push((await upload(api)).body.id)
    const first = (await call(api, 'GET', '?limit=2')).body
    expect(first).toMatchObject({ has_more: true, first_id: ids[4], last_id: ids[3] })
    const second = (await call(api, 'GET', `?limit=3&after=${first.last_id}`)).body
    expect(second).toMatchObject({ has_more: false, first_id: ids[2], last_id: ids[0] })
    const oldest = (await call(api, 'GET', '?order=asc&limit=1')).body
    expect(oldest).toMatchObject({ has_more: true, first_id: ids[0] })
    expect((await call(api, 'GET', '?purpose=batch')).body.data).toHaveLength(5)
    expect((await call(api, 'GET', '?purpose=batch_output')).body.data).toEqual([])
  })

  it.each(['limit=0', 'limit=10001', 'limit=x', 'order=up', 'after=%20'])('refuses %s', async (query) => {
    const api = await start()
    const reply = await call(api, 'GET', `?${query}`)
    expect(reply.status).toBe(400)
    expect(reply.body.error).toMatchObject({ param: `query.${query.split('=')[0]}` })
  })

  it('accepts a limit of 10,000', async () => {
    expect((await call(await start(), 'GET', '?limit=10000')).status).toBe(200)
  })
})

describe('a file of another tenant', () => {
  it('gets exactly the bytes of one that never existed', async () => {
    const api = await start({ tenants: testTenants })
    const { body } = await upload(api, 'secret', acmeKey)
    const missing = 'file-00000000000070008000000000000000'
    for (const [method, path] of [
      ['GET', ''],
      ['GET', '/content'],
      ['DELETE', ''],
    ] as const) {
      const headers = { ...bearer(otherKey), 'x-request-id': 'same' }
      const foreign = await call(api, method, `/${body.id}${path}`, { headers })
      const none = await call(api, method, `/${missing}${path}`, { headers })
      expect(foreign.status).toBe(404)
      expect(foreign.text).toBe(none.text)
      const withoutDate = (reply: Reply) => [...reply.headers].filter(([name]) => name !== 'date')
      expect(withoutDate(foreign)).toEqual(withoutDate(none))
    }
    expect((await call(api, 'GET', '', { headers: bearer(otherKey) })).body.data).toEqual([])
    expect((await call(api, 'GET', `/${body.id}/content`, { headers: bearer(acmeKey) })).text).toBe('secret')
  })

  it('asks for a key', async () => {
    const api = await start({ tenants: testTenants })
    expect((await upload(api)).status).toBe(401)
    expect((await call(api, 'GET', '')).status).toBe(401)
  })
})

it.each([':0', ':sizes', '%2F..', '%00'])('an id that ends in %s is not a file', async (end) => {
  const api = await start()
  const { body } = await upload(api)
  const reply = await call(api, 'GET', `/${body.id}${end}`)
  expect(reply.status).toBe(404)
})
