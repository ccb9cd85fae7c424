import { randomBytes } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import OpenAI, { toFile } from 'openai'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type RunningProcess, startProcess } from '../helpers/processes.ts'
import { testRedis, toConfig } from '../helpers/redis.ts'
import { RUN_VARIABLE } from '../helpers/run-processes.ts'

const file = { purpose: 'batch' } as const

let folder: string
let api: RunningProcess
let url: string
let client: OpenAI

beforeAll(async () => {
  folder = await mkdtemp(join(process.env[RUN_VARIABLE] ?? tmpdir(), 'files-'))
  const redis = testRedis()
  const path = join(folder, 'sluice.yaml')
  await writeFile(
    path,
    `
redis: ${JSON.stringify(toConfig(redis))}
providers: { own: { kind: openai, base_url: "http://127.0.0.1:9/v1", api_key: unused, models: { model: {} } } }
`,
  )
  const args = ['main.ts', 'api', '--config', path, '--port', '0']
  api = await startProcess({ args, ready: /"url":"(http:[^"]+)","msg":"ready"/, readyMs: 50_000 })
  url = api.match[1]!
  client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'unused', maxRetries: 0 })
})

afterAll(async () => {
  api?.kill('SIGTERM')
  expect((await api?.exited)?.code).toBe(0)
})

test('the openai package uploads a file from disk, finds it, reads it and deletes it', async () => {
  const path = join(folder, 'input.jsonl')
  const lines = Array.from({ length: 1_000 }, (_, n) => `{"custom_id":"request-${n}"}\n`).join('')
  await writeFile(path, lines)
  const created = await client.files.create({ file: createReadStream(path), ...file })
  expect(created).toMatchObject({
    object: 'file',
    bytes: lines.length,
    filename: 'input.jsonl',
    purpose: 'batch',
  })
  expect(created.status).toBe('processed')
  expect(created.expires_at! - created.created_at).toBe(30 * 86_400)

  expect(await client.files.retrieve(created.id)).toEqual(created)
  expect(await client.files.waitForProcessing(created.id)).toEqual(created)
  expect(await (await client.files.content(created.id)).text()).toBe(lines)
  expect(await client.files.delete(created.id)).toEqual({ id: created.id, object: 'file', deleted: true })
  const gone = await client.files.retrieve(created.id).catch((error) => error)
  expect(gone).toBeInstanceOf(OpenAI.NotFoundError)
  expect(gone.code).toBe('not_found')
})

test('the order of the members of a call to the openai package does not matter', async () => {
  const upload = await toFile(Buffer.from('{}\n'), 'größe.jsonl')
  const expires_after = { anchor: 'created_at', seconds: 7_200 } as const
  for (const members of [
    { file: upload, ...file, expires_after },
    { expires_after, ...file, file: upload },
    { ...file, file: upload, expires_after },
  ]) {
    const created = await client.files.create(members)
    expect(created.expires_at! - created.created_at).toBe(7_200)
    expect(created.filename).toBe('größe.jsonl')
    await client.files.delete(created.id)
  }
})

test('the openai package pages through the list by itself, also while it deletes', async () => {
  const made: string[] = []
  for (let count = 0; count < 7; count++) {
    const upload = await toFile(Buffer.from(String(count)), 'input.jsonl')
    made.push((await client.files.create({ file: upload, ...file })).id)
  }
  const seen: string[] = []
  for await (const { id } of client.files.list({ limit: 3, order: 'asc' })) seen.push(id)
  expect(seen).toEqual(made)
  for await (const { id } of client.files.list({ limit: 2 })) await client.files.delete(id)
  expect((await client.files.list()).data).toEqual([])
})

test('another purpose is refused as the openai package expects it', async () => {
  const upload = await toFile(Buffer.from('{}'), 'tuning.jsonl')
  const error = await client.files.create({ file: upload, purpose: 'fine-tune' }).catch((refused) => refused)
  expect(error).toBeInstanceOf(OpenAI.BadRequestError)
  expect(error.param).toBe('purpose')
})

test('200 MB go in and out of a process that stays small and awake', { timeout: 60_000 }, async () => {
  const megabyte = Buffer.from(randomBytes(750_000).toString('base64'))
  const delays: number[] = []
  let going = true
  const watch = async () => {
    while (going) {
      const start = performance.now()
      expect((await fetch(`${url}/healthz`)).status).toBe(200)
      delays.push(performance.now() - start)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
  const watching = watch()
  const { id, bytes } = await uploadLarge(megabyte, 200)
  expect(bytes).toBe(200_000_000)
  let read = 0
  for await (const chunk of (await client.files.content(id)).body!) read += (chunk as Uint8Array).length
  expect(read).toBe(200_000_000)
  going = false
  await watching
  await client.files.delete(id)

  delays.sort((one, other) => one - other)
  expect(delays.length).toBeGreaterThan(20)
  expect(delays[Math.floor(delays.length * 0.95)]).toBeLessThan(200)
  if (process.platform === 'linux') expect(await peakMegabytes(api.pid)).toBeLessThan(400)
})

/** Sends a file of `count` times the block, generated on the fly. */
async function uploadLarge(block: Buffer, count: number): Promise<{ id: string; bytes: number }> {
  const boundary = 'a-boundary-of-the-tests'
  const headers = { 'content-type': `multipart/form-data; boundary=${boundary}` }
  const request = httpRequest(`${url}/v1/files`, { method: 'POST', headers })
  const answer = new Promise<IncomingMessage>((resolve, reject) =>
    request.on('response', resolve).on('error', reject),
  )
  const write = (piece: Buffer | string) =>
    new Promise<void>((resolve) => request.write(piece, () => resolve()))
  await write(`--${boundary}\r\ncontent-disposition: form-data; name="file"; filename="large.jsonl"\r\n\r\n`)
  for (let sent = 0; sent < count; sent++) await write(block)
  request.end(
    `\r\n--${boundary}\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--${boundary}--\r\n`,
  )
  const parts: Buffer[] = []
  for await (const part of await answer) parts.push(part)
  return JSON.parse(Buffer.concat(parts).toString())
}

/** The peak resident memory of a process. */
async function peakMegabytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) / 1024
}
