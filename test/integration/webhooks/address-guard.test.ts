import type { LookupAddress } from 'node:dns'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { request } from 'undici'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { createAddressGuard, type LookupAll } from '../../../webhooks/address-guard.ts'
import { LOOPBACK_SPELLINGS, PRIVATE_FORMS } from './address-forms.ts'

/** Listen on 127.0.0.1 and, if possible, on ::1; answer 204 and count the requests. */
let canaries: Server[]
let port: number
let connections: (string | undefined)[] = []

beforeAll(async () => {
  const first = await startCanary('127.0.0.1', 0)
  port = (first.address() as AddressInfo).port
  canaries = [first]
  const second = await startCanary('::1', port).catch(() => null)
  if (second) canaries.push(second)
})

afterEach(() => {
  connections = []
})

afterAll(() => Promise.all(canaries.map(stop)))

async function startCanary(host: string, onPort: number): Promise<Server> {
  const server = createServer((socket) => {
    connections.push(socket.localAddress)
    socket.on('error', () => {}).resume()
    socket.end('HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n')
  })
  server.listen(onPort, host)
  await once(server, 'listening')
  return server
}

async function stop(server: Server): Promise<void> {
  server.close()
  await once(server, 'close')
}

/** A resolver that gives its answers one after the other, and then repeats the last one. */
function answersOf(...answers: string[][]): LookupAll & { asked: string[] } {
  const asked: string[] = []
  const lookup: LookupAll = (hostname, _options, callback) => {
    const addresses = answers[Math.min(asked.push(hostname), answers.length) - 1] ?? []
    const found: LookupAddress[] = addresses.map((address) => ({
      address,
      family: address.includes(':') ? 6 : 4,
    }))
    callback(null, found)
  }
  return Object.assign(lookup, { asked })
}

/** Sends one request through a new dispatcher: the status, or the code of the error. */
async function attempt(url: string, options: Partial<Parameters<typeof createAddressGuard>[0]> = {}) {
  const dispatcher = createAddressGuard({ allowPrivateAddresses: false, ...options }).dispatcher()
  try {
    const answer = await request(url, { method: 'POST', body: '{}', dispatcher })
    await answer.body.dump()
    return answer.statusCode
  } catch (error) {
    return (error as { code?: string }).code
  } finally {
    await dispatcher.destroy()
  }
}

describe('address guard', () => {
  const guard = createAddressGuard({ allowPrivateAddresses: false })
  const forms = [...new Set([...LOOPBACK_SPELLINGS, ...PRIVATE_FORMS])]

  it('knows enough spellings to mean something', () => {
    expect(forms.length).toBeGreaterThanOrEqual(150)
    const understood = LOOPBACK_SPELLINGS.filter((host) => URL.parse(`http://${host}:1/`) !== null)
    expect(understood.length).toBeGreaterThanOrEqual(70)
  })

  it('refuses at submission every form that parses to a literal address or a local name', () => {
    // One label too many makes this a name, which only a resolver can judge.
    expect(forms.filter((host) => guard.checkUrl(`http://${host}:${port}/`).ok)).toEqual(['127.0.0.1..'])
  })

  it.each(['http', 'https'])('lets no %s spelling of a private address reach a socket', async (scheme) => {
    // Forms that are still names after parsing are not really looked up: any name may lead to loopback.
    const lookup = answersOf(['127.0.0.1'])
    const outcomes = new Map<string, unknown>()
    for (const host of forms) outcomes.set(host, await attempt(`${scheme}://${host}:${port}/`, { lookup }))
    const refusals = ['ERR_ADDRESS_BLOCKED', 'ERR_INVALID_URL', 'UND_ERR_INVALID_ARG']
    expect([...outcomes].filter(([, outcome]) => !refusals.includes(String(outcome)))).toEqual([])
    expect(connections).toEqual([])
  })

  it.each(['127.0.0.1', '0x7f.1', '2130706433', '①②⑦.⓪.⓪.①', '[::ffff:127.0.0.1]', '0.0.0.0'])(
    'connects to %s where private addresses are allowed',
    async (host) => {
      expect(await attempt(`http://${host}:${port}/`, { allowPrivateAddresses: true })).toBe(204)
      expect(connections).toHaveLength(1)
    },
  )

  it('refuses localhost as the system resolves it', async () => {
    expect(await attempt(`http://localhost:${port}/`)).toBe('ERR_ADDRESS_BLOCKED')
    expect(connections).toEqual([])
  })

  it.each([
    [['127.0.0.1']],
    [['10.0.0.1']],
    [['169.254.169.254']],
    [['::1']],
    [['::ffff:127.0.0.1']],
    [['::127.0.0.1']],
    [['64:ff9b::7f00:1']],
    [['127.0.0.1', '::1']],
  ])('refuses a name that resolves to %j', async (addresses) => {
    for (const scheme of ['http', 'https']) {
      const lookup = answersOf(addresses)
      expect(await attempt(`${scheme}://hooks.example.com:${port}/`, { lookup })).toBe('ERR_ADDRESS_BLOCKED')
      expect(lookup.asked).toEqual(['hooks.example.com'])
    }
    expect(connections).toEqual([])
  })

  it('says that a name without an address was not found', async () => {
    expect(await attempt(`http://hooks.example.com:${port}/`, { lookup: answersOf([]) })).toBe('ENOTFOUND')
  })

  // Loopback has many addresses only on Linux.
  describe.runIf(process.platform === 'linux')('with a name that has a public address', () => {
    /** Replaces the public internet, which a test must not reach. */
    const isPublic = (address: string) => address === '127.0.0.9'
    const url = () => `http://hooks.example.com:${port}/`
    const receiver = createServer((socket) => {
      socket.resume().end('HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n')
    })

    beforeAll(async () => {
      receiver.listen(port, '127.0.0.9')
      await once(receiver, 'listening')
    })

    afterAll(() => stop(receiver))

    it('connects to the address that was checked, not to the next answer', async () => {
      const lookup = answersOf(['127.0.0.9'], ['127.0.0.1'])
      expect(await attempt(url(), { lookup, isPublic })).toBe(200)
      expect(await attempt(url(), { lookup, isPublic })).toBe('ERR_ADDRESS_BLOCKED')
      expect(lookup.asked).toHaveLength(2)
      expect(connections).toEqual([])
    })

    it.each([
      ['127.0.0.9', '127.0.0.1'],
      ['127.0.0.1', '127.0.0.9'],
      ['127.0.0.9', '::1'],
    ])('refuses the name when its answers are %s and %s', async (...addresses) => {
      expect(await attempt(url(), { lookup: answersOf(addresses), isPublic })).toBe('ERR_ADDRESS_BLOCKED')
      expect(connections).toEqual([])
    })
  })
})
