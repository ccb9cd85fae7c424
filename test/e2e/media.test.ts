import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from 'node:zlib'
import { request } from 'undici'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Job } from '../../jobs/job.ts'
import { sniffMediaType } from '../../lib/media-type.ts'
import { createRedis } from '../../lib/redis.ts'
import { runCli } from '../helpers/cli.ts'
import { keysOf, testRedis } from '../helpers/redis.ts'
import { RUN_VARIABLE } from '../helpers/run-processes.ts'
import { createBulk, createJob, get, post, type Stack, startStack, waitForJob } from '../helpers/stack.ts'
import { startUpstream, type Upstream } from '../helpers/upstream.ts'

type FileObject = { id: string; purpose: string; bytes: number }

const place = testRedis()
let stack: Stack
let speaker: Upstream
let url: string
const picture = Buffer.from('\x89PNG\r\n\x1a\n a picture', 'latin1')
const sound = wave(1.5)
let input: Record<'picture' | 'sound', string>

beforeAll(async () => {
  speaker = await startUpstream()
  stack = await startStack({
    redis: place,
    simulator: [
      ...['--window', '1000', '--family', 'painters=painter:ipm=1200'],
      ...['--family', 'listeners=listener:audio=180'],
    ],
    extra: `
      painter: { limits: { images_per_minute: 1200, window: 1s } }
      listener: { limits: { audio_seconds_per_minute: 180, window: 1s } }
  speaker: { kind: openai-compatible, base_url: "${speaker.url}", retry: { base: 10ms, cap: 50ms }, models: { tts: {} } }
  claude: { kind: anthropic, base_url: http://127.0.0.1:9, api_key: none-at-all, models: { haiku: {} } }
jobs: { retain: 1h }`,
  })
  url = stack.urls[0]!
  input = { picture: await upload(picture, 'a.png'), sound: await upload(sound, 'a.wav') }
})
afterAll(async () => {
  expect(await stack?.stop()).toEqual([0, 0, 0])
  await speaker?.close()
})

/** 16-bit mono samples of silence at 8 kHz. */
function wave(seconds: number): Buffer {
  const samples = Buffer.alloc(seconds * 16_000)
  const head = Buffer.from(
    '524946460000000057415645666d74201000000001000100401f0000803e00000200100064617461',
    'hex',
  )
  const length = Buffer.alloc(4)
  length.writeUInt32LE(samples.length)
  return Buffer.concat([head, length, samples])
}

async function upload(content: Buffer, name: string): Promise<string> {
  const form = new FormData()
  form.set('purpose', 'user_data')
  form.set('file', new File([new Uint8Array(content)], name))
  const response = await fetch(`${url}/v1/files`, { method: 'POST', body: form })
  return ((await response.json()) as FileObject).id
}

let serial = 0
const fresh = () => `a text like no other ${++serial}`

/** The body and the route of each type, and the content of its result. */
const types = [
  {
    type: 'image',
    path: '/v1/images/generations',
    file: 'image/png',
    members: () => ({ prompt: fresh(), n: 2 }),
  },
  {
    type: 'image_edit',
    path: '/v1/images/edits',
    file: 'image/png',
    members: () => ({ prompt: fresh(), image: [input.picture], mask: input.picture }),
  },
  {
    type: 'speech',
    path: '/v1/audio/speech',
    file: 'audio/mpeg',
    members: () => ({ input: fresh(), voice: 'alloy' }),
  },
  {
    type: 'transcription',
    path: '/v1/audio/transcriptions',
    file: null,
    members: () => ({ prompt: fresh(), file: input.sound }),
  },
  {
    type: 'translation',
    path: '/v1/audio/translations',
    file: null,
    members: () => ({ prompt: fresh(), file: input.sound }),
  },
] as const
type Case = (typeof types)[number]

const bodyOf = ({ members }: Case, model = 'sim/chat') => ({ model, ...members() })

/** Each way in, up to the result of one job. */
const ways: Record<string, (one: Case) => Promise<Job['result']>> = {
  async job(one) {
    const job = await createJob(url, { type: one.type, body: bodyOf(one) })
    return (await waitForJob(url, job.id)).result
  },
  async bulk(one) {
    const [id] = await createBulk(url, [{ type: one.type, body: bodyOf(one) }])
    return (await waitForJob(url, id!)).result
  },
  async batch(one) {
    const line = { custom_id: 'one', method: 'POST', url: one.path, body: bodyOf(one) }
    const form = new FormData()
    form.set('purpose', 'batch')
    form.set('file', new File([`${JSON.stringify(line)}\n`], 'in.jsonl'))
    const file = (await (await fetch(`${url}/v1/files`, { method: 'POST', body: form })).json()) as FileObject
    const ask = { input_file_id: file.id, endpoint: one.path, completion_window: '24h' }
    let batch = (await (await post(url, '/v1/batches', ask)).json()) as {
      id: string
      status: string
      output_file_id: string
    }
    while (batch.status !== 'completed') batch = await get(url, `/v1/batches/${batch.id}`)
    const output = await (await fetch(`${url}/v1/files/${batch.output_file_id}/content`)).text()
    return JSON.parse(output).response.body
  },
  async schedule(one) {
    const group = `scheduled-${one.type.replace('_', '-')}`
    const created = await post(url, '/v1/schedules', {
      every: '1h',
      job: { type: one.type, body: bodyOf(one), group },
    })
    const { id } = (await created.json()) as { id: string }
    await post(url, `/v1/schedules/${id}/run`, {})
    const listed = () => get<{ data: Job[] }>(url, `/v1/jobs?group=${group}`)
    let { data } = await listed()
    while (data.length === 0) ({ data } = await listed())
    return (await waitForJob(url, data[0]!.id)).result
  },
  async flow(one) {
    const steps = { only: { job: { type: one.type, body: bodyOf(one) } } }
    const created = await post(url, '/v1/flows', { name: 'media', steps })
    let flow = (await created.json()) as { id: string; status: string }
    while (flow.status === 'running') flow = await get(url, `/v1/flows/${flow.id}`)
    const { data } = await get<{ data: Job[] }>(url, `/v1/jobs?type=${one.type}&limit=1&include=result`)
    return data[0]!.result
  },
}

async function checkResult(result: Job['result'], { file }: Case): Promise<void> {
  if (file === null) {
    expect(result).toMatchObject({ text: expect.stringMatching(/^Answer /) })
    return
  }
  expect(JSON.stringify(result).length).toBeLessThan(2000)
  for (const entry of result!.data as { file_id: string; content_type: string; bytes: number }[]) {
    expect(entry).toMatchObject({ file_id: expect.stringMatching(/^file-/), content_type: file })
    const content = await fetch(`${url}/v1/files/${entry.file_id}/content`)
    expect(content.headers.get('content-type')).toBe(file)
    const bytes = Buffer.from(await content.arrayBuffer())
    expect(bytes.length).toBe(entry.bytes)
    expect(sniffMediaType(bytes)).toBe(file)
  }
}

test.each(types.flatMap((one) => Object.keys(ways).map((way) => [one.type, way, one] as const)))(
  '%s by way of a %s has its bytes in files',
  async (_type, way, one) => {
    await checkResult(await ways[way]!(one), one)
  },
)

test.each(types)('$type is refused by name where there is no such endpoint', async (one) => {
  const refused = await post(url, '/v1/jobs', { type: one.type, body: bodyOf(one, 'claude/haiku') })
  expect(refused.status).toBe(400)
  expect(await refused.json()).toMatchObject({
    error: { code: 'unsupported_type', message: expect.stringContaining(`type ${one.type}`) },
  })
  const atDoor = await post(url, one.path, bodyOf(one, 'claude/haiku'))
  expect([atDoor.status, ((await atDoor.json()) as { error: { code: string } }).error.code]).toEqual([
    400,
    'unsupported_type',
  ])
})

test.each([
  ['image_edit', 'image', { prompt: 'p', image: 'file-nobody' }],
  ['image_edit', 'mask', { prompt: 'p', image: () => input.picture, mask: 'file-nobody' }],
  ['transcription', 'file', { file: 'file-nobody' }],
])('%s without %s is refused with its place', async (type, member, members) => {
  const filled = Object.entries(members).map(([name, value]) => [
    name,
    typeof value === 'function' ? value() : value,
  ])
  const body = { model: 'sim/chat', ...Object.fromEntries(filled) }
  const refused = await post(url, '/v1/jobs', { type, body })
  expect(refused.status).toBe(400)
  expect(await refused.json()).toMatchObject({
    error: {
      code: 'invalid_request',
      param: `body.${member}`,
      message: expect.stringContaining('file-nobody'),
    },
  })
})

test('equal contents are one call, under any file names', async () => {
  const other = await upload(sound, 'another name.wav')
  const ask = (file: string) =>
    createJob(url, { type: 'transcription', body: { model: 'sim/chat', prompt: 'once', file } })
  const first = await ask(input.sound)
  await waitForJob(url, first.id)
  expect((await ask(other)).cache).toBe('hit')
})

test('a deleted job takes its files with it, those that it made and those that came with it', async () => {
  const form = new FormData()
  form.set('model', 'sim/chat')
  form.set('prompt', fresh())
  form.append('image[]', new File([new Uint8Array(picture)], 'mine.png'))
  const answered = await fetch(`${url}/v1/images/edits`, { method: 'POST', body: form })
  expect(answered.status).toBe(200)
  const id = answered.headers.get('x-job-id')!
  const { body } = await get<{ body: { image: string[] } }>(url, `/v1/jobs/${id}/request`)
  const { result } = await waitForJob(url, id)
  const [{ file_id: made }] = result!.data as [{ file_id: string }]
  const purposes = await Promise.all(
    [body.image[0]!, made].map(async (file) => (await get<FileObject>(url, `/v1/files/${file}`)).purpose),
  )
  expect(purposes).toEqual(['job_input', 'job_output'])
  expect((await fetch(`${url}/v1/jobs/${id}`, { method: 'DELETE' })).ok).toBe(true)
  for (const file of [body.image[0]!, made]) expect((await fetch(`${url}/v1/files/${file}`)).status).toBe(404)
})

test('an equal job gets a new picture if its owner has deleted the kept one', async () => {
  const body = { model: 'sim/chat', prompt: fresh() }
  const first = await waitForJob(url, (await createJob(url, { type: 'image', body })).id)
  const [{ file_id: id }] = first.result!.data as [{ file_id: string }]
  await fetch(`${url}/v1/files/${id}`, { method: 'DELETE' })
  const again = await post(url, '/v1/images/generations', body)
  expect([again.status, again.headers.get('x-cache')]).toEqual([200, 'miss'])
})

test('pictures at the door are the same however they are compressed, and whole by their length', async () => {
  const body = JSON.stringify({ model: 'sim/chat', prompt: fresh(), n: 10 })
  const decoders = {
    identity: (bytes: Buffer) => bytes,
    gzip: gunzipSync,
    br: brotliDecompressSync,
    zstd: zstdDecompressSync,
  }
  const texts: string[] = []
  for (const [encoding, decode] of Object.entries(decoders)) {
    const answer = await request(`${url}/v1/images/generations`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'accept-encoding': encoding },
      body,
    })
    const bytes = Buffer.from(await answer.body.arrayBuffer())
    expect(answer.statusCode).toBe(200)
    if (encoding === 'identity') expect(answer.headers['content-length']).toBe(String(bytes.length))
    else expect(answer.headers['content-encoding']).toBe(encoding)
    texts.push(decode(bytes).toString())
  }
  expect(new Set(texts).size).toBe(1)
  const { data } = JSON.parse(texts[0]!) as { data: { b64_json: string }[] }
  expect(data.map((one) => sniffMediaType(Buffer.from(one.b64_json, 'base64')))).toEqual(
    Array(10).fill('image/png'),
  )
})

test.each([
  [
    'pictures',
    { type: 'image', model: 'sim/painter', members: () => ({ prompt: fresh(), n: 10 }) },
    'images',
  ],
  [
    'sound',
    { type: 'transcription', model: 'sim/listener', members: () => ({ prompt: fresh(), file: input.sound }) },
    'audio_seconds',
  ],
] as const)('a limit on %s is used and not hit', async (_what, { type, model, members }, counted) => {
  const jobs = await createBulk(
    url,
    Array.from({ length: 5 }, () => ({ type, body: { model, ...members() } })),
  )
  const since = performance.now()
  const done = await Promise.all(jobs.map((id) => waitForJob(url, id)))
  expect(done.map(({ status }) => status)).toEqual(Array(5).fill('completed'))
  // Two fit into each second.
  expect(performance.now() - since).toBeGreaterThan(800)
  expect((await stack.simulator.state()).rejected[counted]).toBe(0)
})

test('a plan asks the server how long the sound of its jobs is', async () => {
  const folder = await mkdtemp(join(process.env[RUN_VARIABLE] ?? tmpdir(), 'plan-'))
  const limits = 'limits: { audio_seconds_per_minute: 60, headroom: 0.5 }'
  await writeFile(
    join(folder, 'sluice.yaml'),
    `providers: { sim: { kind: openai-compatible, base_url: "http://127.0.0.1:9", models: { listener: { price: { input: 0, audio_second: 0.01 }, ${limits} } } } }`,
  )
  const lines = [input.sound, input.sound, 'file-nobody'].map((file, at) =>
    JSON.stringify({ type: 'transcription', body: { model: 'sim/listener', prompt: `${at}`, file } }),
  )
  await writeFile(join(folder, 'jobs.jsonl'), lines.join('\n'))
  const { code, stdout } = await runCli(['plan', 'jobs.jsonl', '--json', '--url', url], { cwd: folder })
  expect(code).toBe(1)
  expect(JSON.parse(stdout)).toMatchObject({
    ...{ jobs: 2, usd: 0.03 },
    lanes: [{ lane: 'sim/listener', audio_seconds: 3 }],
    refused: { count: 1, examples: [{ line: 3, reason: 'body.file: there is no file file-nobody' }] },
  })
  await rm(folder, { recursive: true })
})

test('a call that its lane could never admit is refused', async () => {
  const refused = await post(url, '/v1/jobs', {
    type: 'image',
    body: { model: 'sim/painter', prompt: 'p', n: 30 },
  })
  expect(refused.status).toBe(422)
  expect(await refused.json()).toMatchObject({
    error: { code: 'exceeds_limit', message: expect.stringContaining('30 images') },
  })
})

test('a form that is not a job leaves no file', async () => {
  const count = async () =>
    (await get<{ data: FileObject[] }>(url, '/v1/files?purpose=job_input')).data.length
  const before = await count()
  const form = new FormData()
  form.set('file', new File([new Uint8Array(sound)], 'a.wav'))
  form.set('model', 'no-such/model')
  const refused = await fetch(`${url}/v1/audio/transcriptions`, { method: 'POST', body: form })
  expect(refused.status).toBe(404)
  expect(await count()).toBe(before)
})

/** A speech whose provider sends a second piece on command. */
const halves = [
  Buffer.concat([Buffer.from('ID3'), Buffer.alloc(70_000, 'a')]),
  Buffer.alloc(100_001, 'b'),
] as const

type Speaking = { next(): void; breakOff(): void }

/** The next call to the speaker, once its first piece has left. */
function speakInHalves(form: 'bytes' | 'events'): Promise<Speaking> {
  return new Promise((resolve) => {
    speaker.script = async (_call, response) => {
      const events = form === 'events'
      const write = (piece: Buffer) =>
        events
          ? response.write(
              `data: ${JSON.stringify({ type: 'speech.audio.delta', audio: piece.toString('base64') })}\n\n`,
            )
          : response.write(piece)
      response.writeHead(200, { 'content-type': events ? 'text/event-stream' : 'audio/mpeg' })
      write(halves[0])
      resolve({
        next() {
          write(halves[1])
          response.end(
            events
              ? 'data: {"type":"speech.audio.done","usage":{"input_tokens":3,"output_tokens":9}}\n\n'
              : '',
          )
        },
        breakOff: () => void response.destroy(),
      })
    }
  })
}

const say = (input: string, form: 'bytes' | 'events', signal?: AbortSignal) =>
  fetch(`${url}/v1/audio/speech`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      ...{ model: 'speaker/tts', voice: 'alloy', input },
      ...(form === 'events' ? { stream_format: 'sse' } : {}),
    }),
    ...(signal === undefined ? {} : { signal }),
  })

/** Reads an answer, and records what has come so far. */
function listen(answer: Response, form: 'bytes' | 'events') {
  const reader = answer.body!.getReader()
  const pieces: Uint8Array[] = []
  const text = () => Buffer.concat(pieces).toString('latin1')
  const sound = () => {
    if (form === 'bytes') return Buffer.concat(pieces)
    const parts = [...text().matchAll(/"audio":"([^"]*)"}\n\n/g)].map((found) => found[1]!)
    // The base64 of the pieces together is that of all bytes.
    return Buffer.from(parts.join(''), 'base64')
  }
  return {
    text,
    sound,
    /** Until the first half has come, except for two bytes that base64 may hold back. */
    async firstHalf() {
      while (sound().length < halves[0].length - 2) {
        const { value, done } = await reader.read()
        if (done) break
        pieces.push(value)
      }
      expect(halves[0].indexOf(sound())).toBe(0)
      expect(sound().length).toBeGreaterThanOrEqual(halves[0].length - 2)
    },
    async all() {
      for (let next = await reader.read(); !next.done; next = await reader.read()) pieces.push(next.value)
      return sound()
    },
  }
}

test.each([
  ['bytes', 'bytes'],
  ['bytes', 'events'],
  ['events', 'bytes'],
  ['events', 'events'],
] as const)(
  'sound that a provider sends as %s leaves as %s while it comes, and once more from the cache',
  async (from, to) => {
    const text = fresh()
    const speaking = speakInHalves(from)
    const answer = await say(text, to)
    expect([answer.status, answer.headers.get('x-cache')]).toEqual([200, 'miss'])
    if (to === 'bytes') expect(answer.headers.get('content-type')).toBe('audio/mpeg')
    const listener = listen(answer, to)
    // The provider has not sent the rest.
    await listener.firstHalf()
    ;(await speaking).next()
    const whole = Buffer.concat(halves)
    expect((await listener.all()).equals(whole)).toBe(true)
    if (to === 'events') expect(listener.text()).toContain('event: speech.audio.done')

    const calls = speaker.calls.length
    const again = await say(text, to)
    expect(again.headers.get('x-cache')).toBe('hit')
    if (to === 'bytes') expect(again.headers.get('content-length')).toBe(String(whole.length))
    expect((await listen(again, to).all()).equals(whole)).toBe(true)
    expect(speaker.calls).toHaveLength(calls)
  },
)

test.each(['bytes', 'events'] as const)(
  'a speech whose client leaves half-way, %s, is cancelled upstream',
  async (form) => {
    const speaking = speakInHalves('bytes')
    const leaving = new AbortController()
    const answer = await say(fresh(), form, leaving.signal)
    await listen(answer, form).firstHalf()
    await speaking
    leaving.abort()
    await speaker.broken()
    expect((await waitForJob(url, answer.headers.get('x-job-id')!)).status).toBe('cancelled')
  },
)

test.each(['bytes', 'events'] as const)(
  'a speech that breaks off half-way, %s, never looks complete, and is not made again',
  async (form) => {
    const calls = speaker.calls.length
    const speaking = speakInHalves('bytes')
    const answer = await say(fresh(), form)
    const listener = listen(answer, form)
    await listener.firstHalf()
    ;(await speaking).breakOff()
    if (form === 'bytes') await expect(listener.all()).rejects.toThrow()
    else {
      await listener.all()
      expect(listener.text()).toMatch(/^event: error$/m)
      expect(listener.text()).not.toContain('speech.audio.done')
    }
    expect((await waitForJob(url, answer.headers.get('x-job-id')!)).status).toBe('failed')
    expect(speaker.calls).toHaveLength(calls + 1)
    await speaker.broken()
  },
)

test('a speech that nobody listens to is made again where it breaks off', async () => {
  const calls = speaker.calls.length
  const speaking = speakInHalves('bytes')
  const body = { model: 'speaker/tts', voice: 'alloy', input: fresh() }
  const accepted = await fetch(`${url}/v1/audio/speech`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', prefer: 'respond-async' },
    body: JSON.stringify(body),
  })
  expect(accepted.status).toBe(202)
  const { breakOff } = await speaking
  const again = speakInHalves('bytes')
  breakOff()
  ;(await again).next()
  const job = await waitForJob(url, ((await accepted.json()) as Job).id)
  expect([job.status, speaker.calls.length]).toEqual(['completed', calls + 2])
  await speaker.broken()
})

test('the staged parts of a speech are gone when its job has its file', async () => {
  const redis = createRedis({ ...place, role: 'commands', name: 'test-media' })
  try {
    // Parts of files that are not sealed have a time to live.
    const staged = async () => {
      const sizes = await keysOf(redis, `${place.prefix}:*:sizes`)
      const left = await Promise.all(sizes.map((key) => redis.pttl(key)))
      return sizes.filter((_, at) => left[at]! > 0)
    }
    // Parts of other tests, which may be about to disappear.
    const others = await staged()
    const speaking = speakInHalves('bytes')
    const listener = listen(await say(fresh(), 'bytes'), 'bytes')
    await listener.firstHalf()
    const own = (await staged()).filter((key) => !others.includes(key))
    expect(own).toHaveLength(1)
    ;(await speaking).next()
    await listener.all()
    await expect.poll(() => redis.exists(own[0]!), { timeout: 20_000 }).toBe(0)
  } finally {
    redis.disconnect()
  }
})
