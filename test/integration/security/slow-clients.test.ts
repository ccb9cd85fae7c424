import { connect } from 'node:net'
import { expect, it, onTestFinished } from 'vitest'
import { createTestApi } from '../../helpers/api.ts'

/** The promise: a client that is too slow is cut off within this time, in ms, with the default time-outs. */
const PROMISED_MS = 15_000
const DRIP_MS = 250
const PROBE_MS = 50

const post = (path: string, more: string[], start = '') =>
  [`POST ${path} HTTP/1.1`, 'host: a', ...more, '', start].join('\r\n')
const json = 'content-type: application/json'

/** How each client begins, and how it goes on, piece by piece. */
const clients: Record<string, { begins: string; drips: string }> = {
  'says nothing': { begins: '', drips: '' },
  'drips its request line': { begins: 'G', drips: 'E' },
  'drips its headers': { begins: 'GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: ', drips: 'y' },
  'goes silent in its headers': { begins: 'GET /healthz HTTP/1.1\r\nhost:', drips: '' },
  'drips a body': { begins: post('/v1/jobs', [json, 'content-length: 100000'], '{'), drips: ' ' },
  'goes silent in a body': { begins: post('/v1/jobs', [json, 'content-length: 100'], '{'), drips: '' },
  'drips chunks': { begins: post('/v1/jobs', [json, 'transfer-encoding: chunked']), drips: '1\r\n \r\n' },
  'drips a body that nobody reads': {
    begins: 'GET /healthz HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n\r\n',
    drips: 'x',
  },
  'drips a body to a path that is not there': {
    begins: post('/nope', [json, 'content-length: 100000']),
    drips: 'x',
  },
  'drips a bulk upload': {
    begins: post('/v1/jobs/bulk', ['content-type: application/x-ndjson', 'content-length: 1000000']),
    drips: ' ',
  },
  'goes silent in a bulk upload': {
    begins: post('/v1/jobs/bulk', ['content-type: application/x-ndjson', 'content-length: 100'], '{'),
    drips: '',
  },
}

/** Several of each, because one that stays connected by chance proves nothing. */
const COPIES = 5

it('cuts off slow headers and slow bodies of every kind within 15 s, while others are served at once', async () => {
  const api = await createTestApi()
  onTestFinished(() => api.close())
  const url = await api.listen()
  const port = Number(new URL(url).port)

  let probing = true
  let slowest = 0
  const probes = (async () => {
    while (probing) {
      const startedAt = performance.now()
      const answer = await fetch(`${url}/v1/jobs?limit=1`)
      await answer.text()
      expect(answer.status).toBe(200)
      slowest = Math.max(slowest, performance.now() - startedAt)
      await new Promise((resolve) => setTimeout(resolve, PROBE_MS))
    }
  })()

  const lasted = await Promise.all(
    Object.entries(clients).flatMap(([name, client]) =>
      Array.from({ length: COPIES }, async () => ({ name, ms: await hold(port, client) })),
    ),
  )
  probing = false
  await probes
  expect(lasted.filter(({ ms }) => ms > PROMISED_MS)).toEqual([])
  expect(slowest).toBeLessThan(2_000)
}, 60_000)

/** How long the server keeps the client, in ms. */
function hold(port: number, { begins, drips }: { begins: string; drips: string }): Promise<number> {
  return new Promise((resolve) => {
    const startedAt = performance.now()
    const socket = connect(port, '127.0.0.1', () => socket.write(begins))
    const dripping = setInterval(() => socket.write(drips), DRIP_MS)
    const givenUp = setTimeout(() => socket.destroy(), PROMISED_MS + 2_000)
    socket
      .on('error', () => {})
      .on('close', () => {
        clearInterval(dripping)
        clearTimeout(givenUp)
        resolve(performance.now() - startedAt)
      })
      .resume()
  })
}
