import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { EmbeddedRedis } from '../../../embedded-redis/embedded-redis.ts'
import { closeRedis, createRedis, isRedisUnavailable, type RedisTarget } from '../../../lib/redis.ts'
import { startTestRedis } from '../../helpers/redis.ts'
import { exercise, openHouse } from './house.ts'

const hasOpenssl = spawnSync('openssl', ['version']).status === 0

describe.runIf(hasOpenssl)('Redis by TLS', () => {
  let folder: string
  let server: EmbeddedRedis
  let url: string
  const file = (name: string) => join(folder, name)

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sluice-tls-'))
    makeAuthority('ca')
    makeAuthority('stranger')
    makeCertificate('server', 'ca', 'DNS:localhost')
    makeCertificate('client', 'ca', 'DNS:client')
    makeCertificate('imposter', 'stranger', 'DNS:client')
    const port = await findFreePort()
    server = await startTestRedis({
      hasPassword: false,
      extraArgs: [
        ...['--tls-port', String(port), '--tls-auth-clients', 'yes', '--tls-ca-cert-file', file('ca.crt')],
        ...['--tls-cert-file', file('server.crt'), '--tls-key-file', file('server.key')],
      ],
    })
    url = `rediss://localhost:${port}`
  })
  afterAll(async () => {
    await server?.close()
    rmSync(folder, { recursive: true, force: true })
  })

  const shown = (name: string) => ({
    ca: file('ca.crt'),
    cert: file(`${name}.crt`),
    key: file(`${name}.key`),
  })

  async function ping(target: RedisTarget): Promise<string> {
    const client = createRedis({ ...target, role: 'commands', name: 'test-tls' })
    try {
      return await client.ping()
    } catch (error) {
      return isRedisUnavailable(error) ? 'unavailable' : String(error)
    } finally {
      await closeRedis(client)
    }
  }

  it('connects where both sides can identify each other', async () => {
    expect(await ping({ url, tls: shown('client') })).toBe('PONG')
  })

  it('does not exist for a client that trusts another authority, shows no certificate, or one of a stranger', async () => {
    const { ca, ...own } = shown('client')
    expect(await ping({ url, tls: own })).toBe('unavailable')
    expect(await ping({ url, tls: { ...own, ca: file('stranger.crt') } })).toBe('unavailable')
    expect(await ping({ url, tls: { ca } })).toBe('unavailable')
    expect(await ping({ url, tls: shown('imposter') })).toBe('unavailable')
  })

  it('does not exist when its certificate is for another name', async () => {
    const elsewhere = url.replace('localhost', '127.0.0.1')
    expect(await ping({ url: elsewhere, tls: shown('client') })).toBe('unavailable')
  })

  it('refuses to start without the files that it was given', () => {
    const tls = { ca: file('none.crt') }
    expect(() => createRedis({ url, tls, role: 'commands', name: 'test-tls' })).toThrow('none.crt')
  })

  it('serves API and worker', async () => {
    const house = await openHouse({ url, tls: shown('client') })
    await exercise(house)
  }, 60_000)

  function makeAuthority(name: string): void {
    openssl(
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:prime256v1',
      '-nodes',
      '-days',
      '2',
      '-subj',
      `/CN=${name}`,
      '-keyout',
      file(`${name}.key`),
      '-out',
      file(`${name}.crt`),
    )
  }

  function makeCertificate(name: string, authority: string, names: string): void {
    openssl(
      'req',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:prime256v1',
      '-nodes',
      '-subj',
      `/CN=${name}`,
      '-keyout',
      file(`${name}.key`),
      '-out',
      file(`${name}.csr`),
    )
    writeFileSync(file(`${name}.ext`), `subjectAltName=${names}\n`)
    openssl(
      'x509',
      '-req',
      '-days',
      '2',
      '-in',
      file(`${name}.csr`),
      '-CA',
      file(`${authority}.crt`),
      '-CAkey',
      file(`${authority}.key`),
      '-CAcreateserial',
      '-extfile',
      file(`${name}.ext`),
      '-out',
      file(`${name}.crt`),
    )
  }
})

function openssl(...args: string[]): void {
  execFileSync('openssl', args, { stdio: 'pipe' })
}

async function findFreePort(): Promise<number> {
  const probe = createServer()
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve))
  const address = probe.address()
  await new Promise((resolve) => probe.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('no free port')
  return address.port
}
