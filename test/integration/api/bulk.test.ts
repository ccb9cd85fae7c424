import { once } from 'node:events'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import { describe, expect, it, onTestFinished } from 'vitest'
import { chatJob, createTestApi, type TestApi, type TestApiOptions } from '../../helpers/api.ts'
import { testAtRest } from '../../helpers/encryption.ts'

type Answer = { index: number; id?: string; status?: string; error?: Record<string, unknown> }
type Reply = { status: number; headers: IncomingMessage['headers']; body: string }

async function start(options: TestApiOptions = {}): Promise<TestApi & { url: string }> {
  const api = await createTestApi(options)
  onTestFinished(() => api.close())
  return Object.assign(api, { url: await api.listen() })
}

const ndjson = { 'content-type': 'application/x-ndjson' }
const json = { 'content-type': 'application/json' }

/** Sends chunks, each in one write, over real HTTP, and reads the answer as it comes. */
async function upload(
  url: string,
  chunks: Iterable<Buffer | string> | AsyncIterable<Buffer | string>,
  headers: Record<string, string> = ndjson,
  onAnswer: () => void = () => {},
): Promise<Reply> {
  const call = httpRequest(`${url}/v1/jobs/bulk`, { method: 'POST', headers })
  // An answer may come, and the connection close, before everything was sent.
  call.on('error', () => {})
  const answered = once(call, 'response') as Promise<[IncomingMessage]>
  const send = async () => {
    for await (const chunk of chunks) {
      await new Promise<void>((resolve) => call.write(chunk, () => resolve()))
    }
    call.end()
  }
  const sent = send()
  const [response] = await answered
  onAnswer()
  const parts: Buffer[] = []
  for await (const part of response) parts.push(part)
  await sent
  return { status: response.statusCode!, headers: response.headers, body: Buffer.concat(parts).toString() }
}

const answersOf = (reply: Reply): Answer[] =>
  reply.body
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line))
/** The text of each accepted job, as the store has it. */
const storedTexts = (api: TestApi, answers: Answer[]): Promise<unknown[]> =>
  Promise.all(
    answers.map(async ({ id }) => {
      const stored = (await api.redis.hgetBuffer(`${api.root()}:job:${id}`, 'body'))!
      const body = testAtRest().openBody(api.root(), id!, stored)
      return (body.messages as { content: string }[])[0]?.content
    }),
  )
const countOf = async ({ app }: TestApi, group: string): Promise<number> =>
  (await app.inject({ url: `/v1/groups/${group}` })).json().total ?? 0
const lines = (jobs: unknown[]) => jobs.map((job) => `${JSON.stringify(job)}\n`).join('')

describe('a bulk upload', () => {
  it('of lines is answered in lines, in order', async () => {
    const api = await start()
    const texts = Array.from({ length: 700 }, (_, n) => `question ${n}`)
    const reply = await upload(api.url, [lines(texts.map((text) => chatJob({}, text)))])
    expect(reply.status).toBe(200)
    expect(reply.headers['content-type']).toMatch(/^application\/x-ndjson/)
    const answers = answersOf(reply)
    expect(answers.map((answer) => answer.index)).toEqual(texts.map((_, index) => index))
    expect(answers.every((answer) => answer.id !== undefined && answer.status === 'queued')).toBe(true)
    expect(await storedTexts(api, answers)).toEqual(texts)
  })

  it('of an array is answered in an array', async () => {
    const { url } = await start()
    const reply = await upload(url, [JSON.stringify([chatJob(), { type: 'x' }, chatJob()], null, 2)], json)
    expect(reply.headers['content-type']).toMatch(/^application\/json/)
    const answers = JSON.parse(reply.body) as Answer[]
    expect(answers.map((answer) => answer.index)).toEqual([0, 1, 2])
    expect(answers[1]?.error).toMatchObject({ code: 'invalid_request', param: 'type' })
  })

  it('of nothing gets an empty answer', async () => {
    const { url } = await start()
    expect(JSON.parse((await upload(url, ['[]'], json)).body)).toEqual([])
    expect((await upload(url, ['\n \n'])).body).toBe('')
  })

  it('loses only its bad lines', async () => {
    const { url } = await start({ limits: { bodyBytes: 2000 } })
    const bad = [
      '{"type":"chat"',
      'null',
      JSON.stringify(chatJob({ body: { model: 'no/such', messages: [{ role: 'user' }] } })),
      JSON.stringify(chatJob({}, 'x'.repeat(3000))),
      '{"type":"chat","body":{"__proto__":1}}',
      JSON.stringify(chatJob({ unknown: 1 })),
      Buffer.from([0x22, 0xff, 0x22]),
    ]
    const good = Buffer.from(`\n${JSON.stringify(chatJob())}\n\n`)
    const reply = await upload(url, [
      Buffer.concat(bad.flatMap((line) => [Buffer.from(line as string), good])),
    ])
    const answers = answersOf(reply)
    expect(answers.map((answer) => answer.index)).toEqual(answers.map((_, index) => index))
    expect(answers.map((answer) => answer.error?.code ?? 'ok')).toEqual(
      [
        'invalid_request',
        'invalid_request',
        'model_not_found',
        'payload_too_large',
        'invalid_request',
        'invalid_request',
        'invalid_request',
      ].flatMap((code) => [code, 'ok']),
    )
    for (const { error } of answers.filter((answer) => answer.error)) {
      expect(Object.keys(error!).sort()).toEqual(['code', 'message', 'param', 'type'])
    }
  })

  it('means the same wherever its bytes are cut', async () => {
    const api = await start()
    const texts = ['plain', 'quote " and \\ back', 'ünïcödé 🙂', 'br]ack}et[s{', 'line\nbreak']
    const entries = texts.map((text) => chatJob({}, text))
    const forms = [
      { bytes: Buffer.from(lines(entries)), headers: ndjson },
      { bytes: Buffer.from(JSON.stringify(entries)), headers: json },
    ]
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...forms),
        fc.array(fc.nat(), { maxLength: 12 }),
        async (form, cuts) => {
          const ends = [
            ...cuts.map((cut) => cut % form.bytes.length).sort((a, b) => a - b),
            form.bytes.length,
          ]
          const chunks = ends.map((end, index) => form.bytes.subarray(ends[index - 1] ?? 0, end))
          const reply = await upload(
            api.url,
            chunks.filter((chunk) => chunk.length > 0),
            form.headers,
          )
          const answers = form.headers === json ? JSON.parse(reply.body) : answersOf(reply)
          expect(await storedTexts(api, answers)).toEqual(texts)
        },
      ),
      { seed: 20261123, numRuns: 60 },
    )
  })

  it('ends at the first job over the limit, and says so last', async () => {
    const api = await start({ limits: { bulkJobs: 3 } })
    const answers = answersOf(await upload(api.url, [lines(Array(10).fill(chatJob({ group: 'g' })))]))
    expect(answers).toHaveLength(4)
    expect(answers[3]).toMatchObject({ index: 3, error: { code: 'payload_too_large' } })
    expect(await countOf(api, 'g')).toBe(3)
  })

  it('is refused with 413 if its content-length is too large', async () => {
    const api = await start({ limits: { bulkBytes: 1000 } })
    const bytes = Buffer.from(lines(Array(100).fill(chatJob({ group: 'g' }))))
    const reply = await upload(api.url, [bytes], { ...ndjson, 'content-length': String(bytes.length) })
    expect([reply.status, JSON.parse(reply.body).error.code]).toEqual([413, 'payload_too_large'])
    expect(await countOf(api, 'g')).toBe(0)
  })

  it('ends where it has become too large, and says so last', async () => {
    const { url } = await start({ limits: { bulkBytes: 50_000 } })
    const chunk = lines(Array(10).fill(chatJob()))
    const answers = answersOf(await upload(url, Array(2000).fill(chunk)))
    expect(answers.at(-1)).toMatchObject({ index: answers.length - 1, error: { code: 'payload_too_large' } })
    expect(answers.slice(0, -1).every((answer) => answer.status === 'queued')).toBe(true)
  })

  it('of a broken array keeps the jobs before the break', async () => {
    const api = await start()
    const job = JSON.stringify(chatJob({ group: 'g' }))
    const reply = await upload(api.url, [`[${job},${job}`], json)
    const answers = JSON.parse(reply.body) as Answer[]
    expect(answers.map((answer) => answer.error?.message ?? 'ok')).toEqual([
      'ok',
      'body: the array is not closed',
    ])
    expect(await countOf(api, 'g')).toBe(1)
  })

  it('gives each job its own idempotency key, or one made of the request’s and its place', async () => {
    const { app, url } = await start()
    const payload = lines([chatJob({}, 'a'), chatJob({ idempotency_key: 'own' }, 'b')])
    const first = answersOf(await upload(url, [payload], { ...ndjson, 'idempotency-key': '"all"' }))
    for (const [key, text, index] of [
      ['all:0', 'a', 0],
      ['own', 'b', 1],
    ] as const) {
      const headers = { 'idempotency-key': key }
      const single = await app.inject({
        method: 'POST',
        url: '/v1/jobs',
        headers,
        payload: chatJob({}, text),
      })
      expect([single.headers['idempotent-replayed'], single.json().id]).toEqual(['true', first[index]?.id])
    }
    const again = answersOf(await upload(url, [payload], { ...ndjson, 'idempotency-key': '"all"' }))
    expect(again).toEqual(first)
    const other = answersOf(await upload(url, [lines([chatJob({ idempotency_key: 'own' }, 'c')])]))
    expect(other[0]?.error).toMatchObject({ code: 'idempotency_key_reused' })
    const bad = answersOf(await upload(url, [lines([chatJob({ idempotency_key: 'ä' }, 'c')])]))
    expect(bad[0]?.error).toMatchObject({ code: 'invalid_request' })
  })

  it('queues replayed jobs again that failed, line by line, where the policy asks for it', async () => {
    const api = await start()
    const payload = lines([chatJob({}, 'a'), chatJob({}, 'b'), chatJob({ idempotency_key: 'own' }, 'c')])
    const send = async (policy?: string) => {
      const own: Record<string, string> = policy === undefined ? {} : { 'idempotency-key-policy': policy }
      return upload(api.url, [payload], { ...ndjson, 'idempotency-key': 'all', ...own })
    }
    const first = answersOf(await send())
    await api.app.inject({ method: 'POST', url: `/v1/jobs/${first[0]!.id}/cancel` })
    await api.app.inject({ method: 'POST', url: `/v1/jobs/${first[2]!.id}/cancel` })
    const statuses = (answers: Answer[]) => answers.map(({ status }) => status)
    expect(statuses(answersOf(await send()))).toEqual(['cancelled', 'queued', 'cancelled'])
    expect(statuses(answersOf(await send('replay')))).toEqual(['cancelled', 'queued', 'cancelled'])
    expect(answersOf(await send('retry-failed'))).toEqual(first)
    expect(statuses(answersOf(await send()))).toEqual(['queued', 'queued', 'queued'])
    const wrong = await send('again')
    expect([wrong.status, JSON.parse(wrong.body).error.param]).toEqual([400, 'Idempotency-Key-Policy'])
  })

  it('is a plain 503 where the store is unavailable from the beginning', async () => {
    const { url, server } = await start({ own: true })
    await server!.close()
    const reply = await upload(url, [lines([chatJob()])])
    expect([reply.status, JSON.parse(reply.body).error.code, reply.headers['retry-after']]).toEqual([
      503,
      'unavailable',
      '2',
    ])
  })

  it('answers the rest with unavailable if the store goes away midway', async () => {
    const { url, server } = await start({ own: true })
    const answered = Promise.withResolvers<void>()
    async function* source() {
      yield lines(Array(250).fill(chatJob()))
      await answered.promise
      await server!.close()
      yield lines(Array(350).fill(chatJob()))
    }
    const answers = answersOf(await upload(url, source(), ndjson, answered.resolve))
    expect(answers.map((answer) => answer.error?.code ?? 'ok')).toEqual([
      ...Array(250).fill('ok'),
      ...Array(350).fill('unavailable'),
    ])
  })

  it('loses only the jobs that fail in the store, each by itself', async () => {
    const api = await start()
    // A broken key, here one of another type, does not affect the other lines.
    await api.redis.set(`${api.root()}:group:spoilt`, 'no hash')
    await api.redis.set(`${api.root()}:idempotency:spoilt`, 'no hash')
    const jobs = Array.from({ length: 600 }, (_, index) =>
      index % 97 === 5
        ? chatJob({ group: 'spoilt' }, `job ${index}`)
        : index === 0 || index === 300
          ? chatJob({ idempotency_key: 'spoilt' }, `job ${index}`)
          : chatJob({ group: 'good' }, `job ${index}`),
    )
    const answers = answersOf(await upload(api.url, [lines(jobs)]))
    expect(answers.map(({ error }) => error?.code ?? 'ok')).toEqual(
      jobs.map((job) => ('group' in job && job.group === 'good' ? 'ok' : 'internal_error')),
    )
    expect(await countOf(api, 'good')).toBe(answers.filter(({ id }) => id !== undefined).length)
  })

  it('says that a job whose outcome is unknown may exist, and finds it when it is sent again', async () => {
    const api = await start({ own: true })
    const jobs = Array.from({ length: 260 }, (_, index) =>
      chatJob({ group: 'all', idempotency_key: `key ${index}` }, `job ${index}`),
    )
    const answered = Promise.withResolvers<void>()
    let thaw = () => {}
    async function* source() {
      yield lines(jobs.slice(0, 250))
      await answered.promise
      // Redis gets the commands of the others, and answers too late.
      thaw = api.freeze()
      yield lines(jobs.slice(250))
    }
    const first = answersOf(await upload(api.url, source(), ndjson, answered.resolve))
    expect(first.slice(0, 250).every(({ id }) => id !== undefined)).toBe(true)
    for (const { error } of first.slice(250)) {
      expect(error).toMatchObject({
        code: 'unavailable',
        message: expect.stringContaining('may have been created'),
      })
    }
    thaw()
    await expect.poll(async () => (await upload(api.url, [lines(jobs)])).status).toBe(200)
    const again = answersOf(await upload(api.url, [lines(jobs)]))
    expect(again.every(({ id }) => id !== undefined)).toBe(true)
    expect(again.slice(0, 250).map(({ id }) => id)).toEqual(first.slice(0, 250).map(({ id }) => id))
    expect(await countOf(api, 'all')).toBe(260)
  })

  it('that stops coming is cut: 408 before the first answer, a last answer after it', async () => {
    const { url } = await start({ limits: { bulkIdleTimeout: 100 } })
    async function* stall(first: string) {
      yield first
      await new Promise((resolve) => setTimeout(resolve, 400))
    }
    const early = await upload(url, stall('{"type":'))
    expect([early.status, JSON.parse(early.body).error.code]).toEqual([408, 'request_timeout'])
    const late = answersOf(await upload(url, stall(lines(Array(251).fill(chatJob())))))
    expect(late).toHaveLength(252)
    expect(late.at(-1)).toMatchObject({ index: 251, error: { code: 'request_timeout' } })
  })

  it('is read no faster than the store accepts it', async () => {
    const { url, freeze } = await start({ own: true, patient: true })
    const thaw = freeze()
    let sent = 0
    async function* source() {
      const chunk = lines(Array(64).fill(chatJob({}, 'x'.repeat(10_000))))
      for (; sent < 40_000_000; sent += chunk.length) yield chunk
    }
    const reply = upload(url, source())
    const quiet = async () => {
      for (let before = -1; before !== sent; ) {
        before = sent
        await new Promise((resolve) => setTimeout(resolve, 200))
      }
    }
    await quiet()
    // The system decides how much the sockets hold: some megabytes.
    expect(sent).toBeLessThan(20_000_000)
    thaw()
    expect((await reply).status).toBe(200)
    expect(sent).toBeGreaterThanOrEqual(40_000_000)
  })

  it('gets all its answers although it reads none before everything is sent', async () => {
    const { url } = await start()
    const job = JSON.stringify(chatJob())
    const body = `${job}\n`.repeat(20_000)
    const response = await fetch(`${url}/v1/jobs/bulk`, { method: 'POST', headers: ndjson, body })
    expect((await response.text()).trimEnd().split('\n')).toHaveLength(20_000)
  })

  // The same for the whole of 200 MB: BULK_MEGABYTES=190 vitest run test/integration/api/bulk.test.ts -t memory
  it('of many megabytes does not grow the memory', { timeout: 120_000 }, async () => {
    const megabytes = Number(process.env.BULK_MEGABYTES ?? 60)
    const { url } = await start()
    const line = Buffer.from(`${JSON.stringify(chatJob({}, 'x'.repeat(20_000)))}\n`)
    const count = Math.floor((megabytes * 1_000_000) / line.length)
    let peak = 0
    const collectGarbage = exposeGarbageCollector()
    collectGarbage()
    const before = process.memoryUsage()
    async function* source() {
      for (let sent = 0; sent < count; sent++) {
        if (sent % 100 === 0) {
          collectGarbage()
          const { heapUsed, arrayBuffers } = process.memoryUsage()
          peak = Math.max(peak, heapUsed + arrayBuffers)
        }
        yield line
      }
    }
    const answers = answersOf(await upload(url, source()))
    expect(answers).toHaveLength(count)
    const grown = peak - before.heapUsed - before.arrayBuffers
    // Some of it comes from the sockets and from other tests of this file, -10 to 18 MB; if a body were held, it
    // would be all of it.
    expect(grown).toBeLessThan(megabytes * 500_000)
  })
})

function exposeGarbageCollector(): () => void {
  setFlagsFromString('--expose-gc')
  return runInNewContext('gc') as () => void
}
