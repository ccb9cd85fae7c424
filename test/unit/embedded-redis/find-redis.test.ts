import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { findRedisServer, planInstall } from '../../../embedded-redis/find-redis.ts'

describe('findRedisServer', () => {
  let folder = ''
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'find-redis-'))
  })
  afterEach(() => rm(folder, { recursive: true, force: true }))

  async function addServer(name: string): Promise<string> {
    await writeFile(join(folder, name), '')
    await chmod(join(folder, name), 0o755)
    return join(folder, name)
  }

  test('finds a server on the path without a message', async () => {
    const lines: string[] = []
    const server = await addServer('redis-server')
    const found = await findRedisServer({
      path: ['', '/nowhere', folder].join(delimiter),
      log: (line) => lines.push(line),
    })
    expect(found).toBe(server)
    expect(lines).toEqual([])
  })

  test('prefers Valkey, which nobody has by accident', async () => {
    await addServer('redis-server')
    const valkey = await addServer('valkey-server')
    expect(await findRedisServer({ path: folder, log: () => {} })).toBe(valkey)
  })
})

describe('planInstall', () => {
  test('updates the package list before installing on Debian, without questions', () => {
    expect(planInstall('apt-get', 'root')?.commands).toEqual([
      ['env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', '-qq', 'update'],
      expect.arrayContaining(['install', '-y', 'redis-server']),
    ])
  })

  test('uses sudo if that needs no password', () => {
    for (const manager of ['apt-get', 'apk', 'dnf'] as const) {
      for (const command of planInstall(manager, 'sudo')?.commands ?? []) {
        expect(command.slice(0, 2)).toEqual(['sudo', '-n'])
      }
    }
  })

  test('never runs Homebrew as root', () => {
    expect(planInstall('brew', 'root')?.commands.flat()).not.toContain('sudo')
    expect(planInstall('brew', 'none')).not.toBeNull()
  })

  test('has no plan without privileges or a package manager', () => {
    expect(planInstall('apt-get', 'none')).toBeNull()
    expect(planInstall(undefined, 'root')).toBeNull()
  })
})
