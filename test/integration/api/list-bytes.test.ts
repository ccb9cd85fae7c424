import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { chatJob, createTestApi, type TestApi } from '../../helpers/api.ts'
import { until } from '../../helpers/store.ts'

/** Request and answer of each job: like embeddings of 256 inputs with 1,536 dimensions, 1.6 MB in the store. */
const PROMPT_BYTES = 100_000
const VECTORS = 256
const VECTOR_BYTES = 1536 * 4
const JOBS = 125
const FAILED = 25

const providers = {
  openai: {
    kind: 'openai' as const,
    base_url: 'http://127.0.0.1:9/v1',
    api_key: 'unused',
    models: { small: {} },
  },
}

let api: TestApi
let ids: string[]
beforeAll(async () => {
  // Its traffic is counted, so no other test may use it.
  api = await createTestApi({ own: true, providers, cache: { max_result: '4MiB' } })
  const data = Array.from({ length: VECTORS }, (_, index) => ({
    object: 'embedding',
    index,
    embedding: randomBytes(VECTOR_BYTES).toString('base64'),
  }))
  const result = { object: 'list', model: 'small', data }
  const prompt = randomBytes(PROMPT_BYTES / 2).toString('hex')
  const webhook = { url: 'https://a.example/hook', events: ['job.completed'] }
  const made = Array.from({ length: JOBS + FAILED }, (_, index) =>
    // Half of the answers are in their records, the other half separate.
    chatJob({ group: 'large', cache: index % 2 === 0 ? 'off' : 'use', webhook }, `${index} ${prompt}`),
  )
  ids = []
  for (const job of made) {
    const answer = await api.app.inject({ method: 'POST', url: '/v1/jobs', payload: job })
    expect(answer.statusCode).toBe(202)
    ids.push(answer.json().id)
  }
  for (let index = 0; index < JOBS; index++) await api.worker.complete(await api.worker.next(), { result })
  // One of them quotes its provider at length.
  const provider_error = { message: 'No. '.repeat(4_000) }
  for (let index = 0; index < FAILED; index++)
    await api.worker.fail(await api.worker.next(), index === 0 ? { provider_error } : {})
}, 120_000)
afterAll(() => api?.close())

/** What the answer to the measuring command itself adds. */
const INFO_BYTES = 1_300

const get = (url: string) => api.app.inject({ url })

async function bytesSent(): Promise<number> {
  return Number(/total_net_output_bytes:(\d+)/.exec(await api.redis.info('stats'))?.[1])
}

/** Bytes that Redis sends during the action. */
async function bytesFor(act: () => Promise<unknown>): Promise<number> {
  const before = await bytesSent()
  await act()
  return (await bytesSent()) - before
}

/** Reads the events of a group until it has seen so many ends. */
async function readEvents(url: string, ends: number): Promise<string> {
  const leaving = new AbortController()
  const answer = await fetch(url, { signal: leaving.signal })
  let text = ''
  for await (const part of answer.body!.pipeThrough(new TextDecoderStream())) {
    text += part
    if (text.split('\nevent: job.completed\n').length > ends) break
  }
  leaving.abort()
  return text
}

describe('jobs with answers of 1.6 MB each', () => {
  it('are listed in a moment, 125 of them for less than a megabyte out of Redis', async () => {
    await get('/v1/jobs?limit=1') // Loads the script.
    let body = ''
    let took = Number.POSITIVE_INFINITY
    const moved = await bytesFor(async () => {
      const begun = performance.now()
      body = (await get('/v1/jobs?limit=125&status=completed')).body
      took = performance.now() - begun
    })
    expect(JSON.parse(body).data).toHaveLength(125)
    expect(body.length).toBeLessThan(200_000)
    expect(moved).toBeLessThan(200_000)
    // On a quiet machine it takes 30.
    expect(took).toBeLessThan(10_000)
  })

  it('say in a list that they have a result, and where', async () => {
    const { data } = (await get('/v1/jobs?limit=2&status=completed')).json()
    for (const job of data) {
      expect(job).toMatchObject({ result: null, result_omitted: true, result_url: `/v1/jobs/${job.id}` })
    }
    const one = (await get(data[0].result_url)).json()
    expect(one.result.data).toHaveLength(VECTORS)
    expect(one).not.toHaveProperty('result_omitted')
    const failed = (await get('/v1/jobs?limit=1&status=failed')).json().data[0]
    expect(failed).toMatchObject({ result: null, error: { code: 'boom' } })
    expect(failed).not.toHaveProperty('result_omitted')
  })

  it('come with their results on request, up to 4 MB a page', async () => {
    let answer = await get('/v1/jobs?limit=1')
    const moved = await bytesFor(async () => {
      answer = await get('/v1/jobs?limit=125&include=result&status=completed')
    })
    const { data, omitted_results } = answer.json()
    const shown = data.filter((job: { result: unknown }) => job.result !== null)
    expect(shown.length).toBe(1)
    expect(shown[0]).not.toHaveProperty('result_omitted')
    expect(omitted_results).toBe(124)
    expect(data.filter((job: { result_omitted?: true }) => job.result_omitted)).toHaveLength(124)
    expect(answer.body.length).toBeLessThan(4_500_000)
    expect(moved).toBeLessThan(4_500_000)
    expect((await get('/v1/jobs?include=body')).json().error.param).toBe('query.include')
  })

  it('leave the page of a small answer whole when results are requested', async () => {
    await api.worker.finish(
      (await api.app.inject({ method: 'POST', url: '/v1/jobs', payload: chatJob({ group: 'small' }) })).json()
        .id,
      { result: { answer: 42 } },
    )
    const page = (await get('/v1/jobs?group=small&include=result')).json()
    expect(page).toMatchObject({ data: [{ result: { answer: 42 } }], omitted_results: 0 })
    const events = await readEvents(`${await listening()}/v1/groups/small/events`, 1)
    expect(events).toContain('"result":{"answer":42}')
  })

  it("are in a group's events without their results, and with their address", async () => {
    const events = await readEvents(`${await listening()}/v1/groups/large/events`, JOBS)
    expect(events.split(`"result_omitted":true`).length - 1).toBe(JOBS)
    expect(events).toContain(`"result_url":"/v1/jobs/${ids[0]}"`)
    expect(events.length).toBeLessThan((JOBS + FAILED) * 4_000)
  })

  it('are whole in their own events', async () => {
    const { body } = await get(`/v1/jobs/${ids[0]}/events`)
    expect(body).toContain('event: job.completed')
    expect(body).not.toContain('result_omitted')
    expect(body.length).toBeGreaterThan(VECTORS * VECTOR_BYTES)
  })
})

/** Every list of jobs or of what belongs to them: how many entries it has, and the most bytes that one may move. */
const budgets: [route: string, items: number, bytes: number][] = [
  ['/v1/jobs', 100, 700],
  ['/v1/jobs?limit=1', 1, 600],
  ['/v1/jobs?status=completed&limit=125', 125, 600],
  // With the providers' messages.
  ['/v1/jobs?status=failed', FAILED, 1_500],
  ['/v1/jobs?group=large&limit=150', 150, 600],
  ['/v1/jobs?lane=openai/small&type=chat&limit=150', 150, 600],
  // No job matches: each one that is looked at moves no more than its id and its place.
  ['/v1/jobs?type=embedding', 150, 100],
  ['/v1/jobs/{id}/attempts', 1, 1_000],
  ['/v1/jobs/{id}/deliveries', 1, 1_500],
  ['/v1/groups', 1, 1_000],
  ['/v1/groups/large', 1, 1_000],
  ['/v1/groups/large/events', JOBS, 1_500],
  ['/v1/events?event=job.completed', JOBS, 1_500],
  ['/v1/failures', FAILED, 200],
  ['/v1/batches', 1, 1_000],
  ['/v1/lanes', 1, 2_000],
  ['/v1/tenants', 1, 1_000],
  ['/v1/overview', 1, 3_000],
]

describe('the bytes that a list moves out of Redis', () => {
  it.each(budgets)('%s: of %i, at most %i bytes each', async (route, items, bytes) => {
    const path = route.replace('{id}', ids[0]!)
    const url = await listening()
    await get('/v1/jobs?limit=1') // Loads the script.
    const moved = await bytesFor(async () => {
      if (route.includes('/events')) return readEvents(url + path, JOBS)
      expect((await get(path)).statusCode).toBe(200)
    })
    expect((moved - INFO_BYTES) / items).toBeLessThan(bytes)
  })
})

describe('a submission of many', () => {
  const submit = (lines: object[]) =>
    api.app.inject({
      method: 'POST',
      url: '/v1/jobs/bulk',
      headers: { 'content-type': 'application/x-ndjson', 'idempotency-key': 'many' },
      payload: lines.map((line) => JSON.stringify(line)).join('\n'),
    })

  it('that is repeated, or answered from the cache, moves no result out of Redis', async () => {
    const result = { text: randomBytes(200_000).toString('hex') }
    const lines = Array.from({ length: 5 }, (_, index) => chatJob({ group: 'many' }, `one of many ${index}`))
    expect((await submit(lines)).statusCode).toBe(200)
    for (const _ of lines) await api.worker.complete(await api.worker.next(), { result })
    const repeated = await bytesFor(async () => {
      const answers = (await submit(lines)).body.trim().split('\n')
      for (const answer of answers) expect(JSON.parse(answer)).toMatchObject({ status: 'completed' })
    })
    const again = await bytesFor(async () => {
      const payload = lines.map((line) => JSON.stringify({ ...line, group: 'other' })).join('\n')
      const headers = { 'content-type': 'application/x-ndjson' }
      const { body } = await api.app.inject({ method: 'POST', url: '/v1/jobs/bulk', headers, payload })
      expect(body.match(/"completed"/g)).toHaveLength(5)
    })
    for (const moved of [repeated, again]) expect(moved).toBeLessThan(10_000)
  })
})

let address: string | null = null
async function listening(): Promise<string> {
  address ??= await api.listen()
  return address
}

describe('a filter that few jobs match', () => {
  /** Beside the jobs of the other tests, and older: only the last of them is an embedding. */
  const OLD = 25_000
  const oldId = (number: number) => `job_${String(number).padStart(26, '0')}`

  beforeAll(async () => {
    const copy = `
      local record = redis.call('HGETALL', KEYS[1] .. ':job:' .. ARGV[1])
      for number = 1, tonumber(ARGV[2]) do
        local id = string.format('job_%026d', number)
        local key = KEYS[1] .. ':job:' .. id
        redis.call('HSET', key, unpack(record))
        redis.call('HSET', key, 'created_at', number, 'type', number == 1 and 'embedding' or 'chat', 'body', '{}')
        redis.call('ZADD', KEYS[1] .. ':jobs', number, id)
      end`
    await api.redis.eval(copy, 1, api.root(), ids.at(-1)!, OLD)
  })

  it('looks at ten thousand jobs a page, says so, and goes on from there', async () => {
    const pages = []
    let after = ''
    do {
      const begun = performance.now()
      const page = (await get(`/v1/jobs?type=embedding${after}`)).json()
      // On a quiet machine it takes 50.
      expect(performance.now() - begun).toBeLessThan(10_000)
      pages.push(page)
      after = `&after=${page.last_id}`
    } while (pages.at(-1).has_more)
    expect(pages.map(({ scanned }) => scanned)).toEqual([10_000, 10_000, undefined])
    expect(pages.map(({ data }) => data.map(({ id }: { id: string }) => id))).toEqual([[], [], [oldId(1)]])
    expect(pages[0]).toMatchObject({ object: 'list', has_more: true, first_id: null })
  })

  it('walks the shorter of two indexes', async () => {
    const seen = await bytesFor(() => get('/v1/jobs?group=large&status=running'))
    expect(seen).toBeLessThan(3_000)
  })

  it('stops in the store when the client has left', async () => {
    const url = await listening()
    const client = new AbortController()
    const calls = async () =>
      Number(/cmdstat_zrevrangebyscore:calls=(\d+)/.exec(await api.redis.info('commandstats'))?.[1] ?? 0)
    const before = await calls()
    // Redis is frozen, so that the client leaves before the first block is there.
    const thaw = api.freeze()
    const answer = fetch(`${url}/v1/jobs?type=embedding`, { signal: client.signal })
    answer.catch(() => {})
    await new Promise((resolve) => setTimeout(resolve, 100))
    client.abort()
    await expect(answer).rejects.toThrow()
    await new Promise((resolve) => setTimeout(resolve, 100))
    thaw()
    let last = before
    await until(async () => {
      const seen = last
      last = await calls()
      return last > before && last === seen
    })
    expect(last - before).toBeLessThan(4)
  })
})
