import { connect } from 'node:net'
import { Writable } from 'node:stream'
import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createLiveConfig } from '../../../config/watch.ts'
import type { Service } from '../../../services/closers.ts'
import { openApi } from '../../../services.ts'
import { acmeKey, chatJob, parseTestConfig, testTenants } from '../../helpers/api.ts'
import { testRedis, toConfig } from '../../helpers/redis.ts'

const FORGED = '{"level":60,"msg":"forged"}'

let service: Service
/** The log, exactly as in the file. */
let written = ''

beforeAll(async () => {
  const sink = new Writable({
    write(chunk: Buffer, _encoding, done) {
      written += chunk
      done()
    },
  })
  const place = testRedis()
  const config = parseTestConfig({
    server: { host: '127.0.0.1', port: 0 },
    redis: toConfig(place),
    tenants: testTenants,
  })
  service = await openApi({
    config: createLiveConfig(config),
    log: pino({ level: 'trace' }, sink),
    version: '0.0.0-test',
  })
})
afterAll(() => service.close())

/** Sends bytes unchanged and answers what came back. */
function send(text: string): Promise<string> {
  return new Promise((resolve) => {
    let answer = ''
    const socket = connect(Number(new URL(service.url!).port), '127.0.0.1', () =>
      socket.write(text, 'latin1'),
    )
    socket
      .setEncoding('latin1')
      .on('data', (part) => (answer += part))
      .on('error', () => {})
      .on('close', () => resolve(answer))
  })
}

const lines = () => written.split('\n').filter((line) => line !== '')

describe('what a client sends', () => {
  it.each([
    ['a bare line feed', `trace\n${FORGED}`],
    ['a carriage return', `trace\r${FORGED}`],
    ['a terminal sequence', 'trace\u001b[2J'],
    ['a quote', 'trace","level":60,"x":"'],
    ['a line break of Unicode', 'trace\xe2\x80\xa8'],
    ['a thousand characters', 'x'.repeat(1_000)],
  ])('as a request id with %s is neither echoed nor logged', async (_what, id) => {
    const answer = await send(
      `GET /v1/jobs/job_none HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ${acmeKey}\r\nx-request-id: ${id}\r\nconnection: close\r\n\r\n`,
    )
    const echoed = /^x-request-id: (.*)\r$/im.exec(answer)?.[1]
    expect(echoed).toMatch(/^req_[0-9a-f]{32}$/)
    expect(answer).not.toContain('forged')
  })

  it('cannot end a line of the log, in any text and at any place', async () => {
    const nasty = `a\r\n${FORGED}\n\u001b[31m\u2028`
    const encoded = encodeURIComponent(nasty)
    const headers = { authorization: `Bearer ${acmeKey}`, 'content-type': 'application/json' }
    const requests: [string, RequestInit][] = [
      [`/${encoded}`, {}],
      [`/v1/jobs/${encoded}`, { headers }],
      [`/v1/jobs?after=${encoded}&group=${encoded}`, { headers }],
      [
        '/v1/jobs',
        { headers, method: 'POST', body: JSON.stringify(chatJob({ group: nasty, [nasty]: nasty })) },
      ],
      [
        '/v1/jobs',
        { headers, method: 'POST', body: JSON.stringify(chatJob({ metadata: { [nasty]: nasty } }, nasty)) },
      ],
      [
        '/v1/jobs',
        {
          headers,
          method: 'POST',
          body: JSON.stringify(chatJob({ body: { model: nasty, messages: [{ role: nasty }] } })),
        },
      ],
      ['/v1/jobs', { headers, method: 'POST', body: nasty }],
    ]
    for (const [path, init] of requests) {
      const answer = await fetch(service.url + path, init)
      expect(answer.status, path).toBeLessThan(500)
      expect([...answer.headers.values()].join(), path).not.toContain('forged')
      await answer.text()
    }
    // Each line is one object that pino wrote, with its own level and time.
    expect(lines().length).toBeGreaterThan(requests.length)
    for (const line of lines()) {
      const entry = JSON.parse(line)
      expect(entry.msg).not.toBe('forged')
      expect(entry).toMatchObject({ level: expect.any(Number), time: expect.any(Number) })
    }
    expect(written).not.toMatch(/(?!\n)\p{Cc}/u)
  })

  it('cannot add a header to an answer', async () => {
    for (const value of ['k\r\nx-injected: 1', 'k\nx-injected: 1', 'k\u2028x-injected: 1']) {
      const body = JSON.stringify(chatJob({ metadata: { a: value } }))
      const answer = await send(
        `POST /v1/jobs HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ${acmeKey}\r\ncontent-type: application/json\r\n` +
          `idempotency-key: "${value}"\r\nlast-event-id: ${value}\r\ncontent-length: ${Buffer.byteLength(body, 'latin1')}\r\nconnection: close\r\n\r\n${body}`,
      )
      expect(answer.split('\r\n\r\n')[0]).not.toMatch(/x-injected/i)
    }
  })
})
