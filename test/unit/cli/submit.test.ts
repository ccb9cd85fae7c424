import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { ErrorMembers } from '../../../cli/client.ts'
import { noJournal, openJournal } from '../../../cli/submit/journal.ts'
import { type PostDeps, postBlocks, type Submitted } from '../../../cli/submit/post-blocks.ts'
import { inspectInput } from '../../../cli/submit/read-input.ts'
import { encodeLine, type LineRequest, readRequest } from '../../../cli/submit/read-request.ts'
import { resumeOutput } from '../../../cli/submit/resume-output.ts'
import type { JsonObject } from '../../../lib/json.ts'

let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-submit-'))
})
afterAll(() => rm(folder, { recursive: true }))

const identity = { digest: 'd'.repeat(64), group: 'submit-dd' }
const read = (text: string, number = 1) =>
  readRequest({ text: Buffer.from(text), number, start: 0, end: text.length })

async function write(name: string, text: string): Promise<string> {
  const path = join(folder, name)
  await writeFile(path, text)
  return path
}

test('a job create is sent unchanged, with a key made of its file and line, and a group', () => {
  const request = read('{"type":"chat","body":{"model":"m"},"priority":"low"}') as { create: JsonObject }
  expect(JSON.parse(encodeLine(request.create, 7, identity))).toEqual({
    type: 'chat',
    body: { model: 'm' },
    priority: 'low',
    idempotency_key: `submit:${'d'.repeat(32)}:7`,
    group: 'submit-dd',
  })
})

test('a key and a group of its own stay', () => {
  const line = encodeLine({ idempotency_key: 'mine', group: 'ours' }, 1, identity)
  expect(JSON.parse(line)).toEqual({ idempotency_key: 'mine', group: 'ours' })
})

test.each([
  ['/v1/chat/completions', 'chat'],
  ['/v1/responses', 'response'],
  ['/v1/embeddings', 'embedding'],
])('a batch line for %s is a %s job', (url, type) => {
  const line = { custom_id: 'a', method: 'POST', url, body: { model: 'm' } }
  expect(read(JSON.stringify(line))).toMatchObject({
    form: { kind: 'batch', customId: 'a' },
    create: { type, body: { model: 'm' }, metadata: { custom_id: 'a' } },
  })
})

test('a failed job as it was exported becomes its request again', () => {
  const create = { type: 'chat', body: { model: 'm' }, group: 'nightly' }
  expect(read(JSON.stringify({ job: { id: 'job_1' }, create }))).toMatchObject({
    form: { kind: 'job' },
    create,
  })
  expect(read('{"job":{"id":"job_1"},"create":null}')).toMatchObject({ fault: { code: 'invalid_request' } })
})

test('a line that cannot be a request is an error of that line', () => {
  expect(read('{')).toMatchObject({ line: 1, fault: { code: 'invalid_request' } })
  expect(read('[]')).toMatchObject({ fault: { code: 'invalid_request' } })
  expect(read('{"custom_id":"a","method":"GET","url":"/v1/embeddings"}')).toMatchObject({
    form: { kind: 'batch', customId: 'a' },
    fault: { code: 'invalid_method' },
  })
  expect(readRequest({ text: null, number: 3, start: 0, end: 9 })).toMatchObject({
    line: 3,
    fault: { code: 'payload_too_large' },
  })
})

const createLine = '{"type":"chat","body":{"model":"m"}}'
const resultLine = (line: number, status = 'completed') => `${JSON.stringify({ line, job: { status } })}\n`

test('results are continued behind the last complete line', async () => {
  const input = await write('three.jsonl', `${createLine}\n\n${createLine}\n${createLine}`)
  const whole = resultLine(1) + resultLine(3, 'failed')
  const out = await write('torn.out', `${whole}{"line":4,"jo`)
  expect(await resumeOutput(out, input)).toEqual({ lines: 2, failed: 1, last: 3 })
  expect(await readFile(out, 'utf8')).toBe(whole)
  expect(await resumeOutput(join(folder, 'none'), input)).toEqual({ lines: 0, failed: 0, last: 0 })
  expect((await inspectInput(input)).lines).toBe(3)
})

test.each([
  ['other text', 'a letter to somebody\n'],
  ['other text without a line break', 'a letter to somebody'],
  ['results of other lines', resultLine(1) + resultLine(2)],
  ['more results than lines', resultLine(1) + resultLine(3) + resultLine(4) + resultLine(5)],
  ['batch lines, not results', '{"custom_id":"a","method":"POST"}\n'],
])('a file that holds %s is refused and left alone', async (_what, text) => {
  const input = await write('three.jsonl', `${createLine}\n\n${createLine}\n${createLine}\n`)
  const out = await write('other.out', text)
  await expect(resumeOutput(out, input)).rejects.toMatchObject({ exitCode: 2 })
  expect(await readFile(out, 'utf8')).toBe(text)
})

test('the journal shows the jobs of an earlier run, with half a line at its end or not', async () => {
  const path = join(folder, 'journal')
  const header = { input: 'one', url: 'http://a' }
  const first = await openJournal(path, header, 0)
  await first.add([1, 2, 3].map((line) => ({ line, id: `job_${line}` })))
  await writeFile(path, '{"line":4,"id":"jo', { flag: 'a' })
  const second = await openJournal(path, header, 1)
  expect([1, 2, 3, 4].map((line) => second.take(line))).toEqual([undefined, 'job_2', 'job_3', undefined])
})

test.each([{ input: 'two' }, { url: 'http://b' }])(
  'the journal of another run (%j) shows nothing',
  async (other) => {
    const path = join(folder, 'other-journal')
    const header = { input: 'one', url: 'http://a' }
    await (await openJournal(path, header, 0)).add([{ line: 1, id: 'job_1' }])
    expect((await openJournal(path, { ...header, ...other }, 0)).take(1)).toBe(undefined)
  },
)

/** A server that answers each line by a rule, by its place in the file; `stop` ends an upload before the line. */
function serve(rule: (line: number, attempt: number) => ErrorMembers | 'take' | 'stop') {
  const uploads: number[][] = []
  const attempts = new Map<number, number>()
  const waits: number[] = []
  const deps: PostDeps = {
    client: {
      async request(_method, _path, { body } = {}) {
        const lines = body!.trimEnd().split('\n')
        const numbers = lines.map((line) => Number((JSON.parse(line) as { body: { n: number } }).body.n))
        uploads.push(numbers)
        const answers: object[] = []
        for (const [index, number] of numbers.entries()) {
          attempts.set(number, (attempts.get(number) ?? 0) + 1)
          const verdict = rule(number, attempts.get(number)!)
          if (verdict === 'stop') break
          answers.push(verdict === 'take' ? { index, id: `job_${number}` } : { index, error: verdict })
        }
        return answers.map((answer) => JSON.stringify(answer)).join('\n')
      },
    },
    journal: noJournal,
    identity,
    sleep: async (ms) => waits.push(ms),
    onTrouble: () => {},
  }
  return { deps, uploads, waits }
}

async function* requests(count: number): AsyncGenerator<LineRequest> {
  for (let line = 1; line <= count; line++)
    yield { line, form: { kind: 'job' }, size: 10, create: { type: 'chat', body: { n: line } } }
}

const error = (code: string): ErrorMembers => ({ message: code, type: 't', param: null, code })
const idsOf = (submitted: Submitted[]) => submitted.map((one) => ('id' in one ? one.id : one.error.code))

test('lines go in blocks, and come back in order', async () => {
  const { deps, uploads } = serve(() => 'take')
  const submitted = await Array.fromAsync(postBlocks(requests(600), deps))
  expect(uploads.map(({ length }) => length)).toEqual([250, 250, 100])
  expect(submitted.map(({ line }) => line)).toEqual(Array.from({ length: 600 }, (_, index) => index + 1))
})

test('lines without room are sent again, the refused ones are not', async () => {
  const { deps, uploads, waits } = serve((line, attempt) =>
    line === 2 && attempt < 3 ? error('queue_full') : line === 3 ? error('model_not_found') : 'take',
  )
  expect(idsOf(await Array.fromAsync(postBlocks(requests(4), deps)))).toEqual([
    'job_1',
    'job_2',
    'model_not_found',
    'job_4',
  ])
  expect(uploads).toEqual([[1, 2, 3, 4], [2], [2]])
  expect(waits).toEqual([2000, 2000])
})

test('lines that an interrupted upload did not reach are sent again', async () => {
  const { deps, uploads } = serve((line, attempt) => (line === 3 && attempt === 1 ? 'stop' : 'take'))
  expect(idsOf(await Array.fromAsync(postBlocks(requests(4), deps)))).toHaveLength(4)
  expect(uploads).toEqual([
    [1, 2, 3, 4],
    [3, 4],
  ])
})

test('a line that fails the server again and again is given up', async () => {
  const { deps, uploads } = serve((line) => (line === 1 ? error('internal_error') : 'take'))
  expect(idsOf(await Array.fromAsync(postBlocks(requests(2), deps)))).toEqual(['internal_error', 'job_2'])
  expect(uploads).toHaveLength(5)
})

test('lines whose jobs are known are not sent', async () => {
  const { deps, uploads } = serve(() => 'take')
  const journal = { ...noJournal, take: (line: number) => (line === 1 ? 'job_known' : undefined) }
  const submitted = await Array.fromAsync(postBlocks(requests(2), { ...deps, journal }))
  expect(idsOf(submitted)).toEqual(['job_known', 'job_2'])
  expect(uploads).toEqual([[2]])
})
