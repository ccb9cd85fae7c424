import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { type Client, type ClientDeps, createClient, RefusedError } from '../../../cli/client.ts'
import { CliError } from '../../../cli/exit.ts'

type Step = (request: IncomingMessage, response: ServerResponse) => void

let steps: Step[] = []
let seen: IncomingMessage[] = []
let waits: number[] = []
let troubles: (string | null)[] = []
const server = createServer((request, response) => {
  seen.push(request)
  steps.shift()?.(request, response)
})

beforeAll(() => new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve)))
afterAll(
  () =>
    new Promise((resolve) => {
      server.close(resolve)
      server.closeAllConnections()
    }),
)
beforeEach(() => {
  steps = []
  seen = []
  waits = []
  troubles = []
})

/** A client whose waits take no time but are counted as if they did. */
function open(changes: Partial<ClientDeps> = {}): Client {
  let clock = 0
  return createClient({
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    key: 'a-key',
    fetch,
    sleep: async (ms) => {
      waits.push(ms)
      clock += ms
    },
    now: () => clock,
    random: () => 1,
    signal: new AbortController().signal,
    patienceMs: 60_000,
    onTrouble: (trouble) => troubles.push(trouble),
    ...changes,
  })
}

function answer(status: number, error?: object, headers: Record<string, string> = {}): Step {
  return (_request, response) =>
    response.writeHead(status, headers).end(JSON.stringify(error === undefined ? { ok: true } : { error }))
}
const cut: Step = (request) => request.socket.destroy()

test('the key is sent along, and the answer comes back', async () => {
  steps = [answer(200)]
  expect(await open().json('GET', '/v1/jobs')).toEqual({ ok: true })
  expect(seen[0]).toMatchObject({ url: '/v1/jobs', headers: { authorization: 'Bearer a-key' } })
})

test('a broken connection and a 503 are tried again, later each time', async () => {
  steps = [cut, answer(503, { message: 'closing' }), cut, answer(200)]
  expect(await open().json('GET', '/')).toEqual({ ok: true })
  expect(waits).toEqual([250, 500, 1000])
  expect(troubles[1]).toBe('closing')
  expect(troubles.at(-1)).toBe(null)
})

test('nothing is tried again before its Retry-After', async () => {
  steps = [answer(429, { message: 'full' }, { 'retry-after': '7' }), answer(200)]
  await open().json('GET', '/')
  expect(waits).toEqual([7000])
})

test('a server that is busy is waited for longer than one that is away', async () => {
  steps = Array.from({ length: 8 }, () => answer(429, { message: 'full' }, { 'retry-after': '30' }))
  steps.push(answer(200))
  await open().json('GET', '/')
  expect(waits).toHaveLength(8)

  const gone = open({ url: 'http://127.0.0.1:1' })
  await expect(gone.request('GET', '/', { patienceMs: 2000 })).rejects.toMatchObject({ exitCode: 69 })
})

test.each([
  [401, 77, 'no', 'no'],
  [403, 77, 'no', 'no'],
  [404, 1, 'no such lane', 'no such lane: /v1/lanes/openai/gpt 5'],
  [404, 1, 'lanes: no such lane: openai/gpt', 'lanes: no such lane: openai/gpt'],
])(
  '%i is final and ends a command with %i: "%s" is reported as "%s"',
  async (status, exitCode, said, message) => {
    steps = [answer(status, { message: said, code: 'such' })]
    const refused = await open()
      .request('GET', '/v1/lanes/openai%2Fgpt%205?a=b')
      .catch((error: unknown) => error)
    expect(refused).toBeInstanceOf(RefusedError)
    expect(refused).toMatchObject({ status, exitCode, message, members: { message: said, code: 'such' } })
    expect(waits).toEqual([])
  },
)

test('a server error that says so is not tried again', async () => {
  steps = [answer(500, { message: 'never' }, { 'x-should-retry': 'false' })]
  await expect(open().request('GET', '/')).rejects.toMatchObject({ status: 500 })
})

test('a request without an answer in time is sent again', async () => {
  steps = [() => {}, answer(200)]
  expect(await open().json('GET', '/', { timeoutMs: 100 })).toEqual({ ok: true })
  expect(troubles[0]).toBe('no answer in time')
})

test('the signal ends a request under way with its own reason', async () => {
  const leaving = new AbortController()
  steps = [() => leaving.abort(new CliError(130, 'interrupted'))]
  await expect(open({ signal: leaving.signal }).request('GET', '/')).rejects.toMatchObject({ exitCode: 130 })
})
