import { globSync, readFileSync } from 'node:fs'
import { Redis } from 'ioredis'
import { expect, it, onTestFinished } from 'vitest'
import { startTestRedis } from '../../helpers/redis.ts'
import { exercise, openHouse } from './house.ts'

const root = new URL('../../../', import.meta.url).pathname
const read = (path: string) => readFileSync(root + path, 'utf8')

/** The rules of docs/security.md, as words. */
const [, rulesText = ''] = /```acl\nuser sluice (on .*?)```/s.exec(read('docs/security.md')) ?? []
const rules = rulesText.trim().split(/\s+/)
const granted = rules.filter((rule) => rule.startsWith('+')).map((rule) => rule.slice(1).split('|')[0]!)

async function open() {
  const server = await startTestRedis()
  onTestFinished(() => server.close())
  const admin = new Redis(server.url, { replyMapping: 'legacy' })
  onTestFinished(() => admin.disconnect())
  await admin.acl('SETUSER', 'sluice', 'reset', ...rules.map((rule) => rule.replace('PASSWORD', 'pass-word')))
  const url = new URL(server.url)
  url.username = 'sluice'
  url.password = 'pass-word'
  return { admin, url: url.href.replace(/\/$/, '') }
}

it('needs of Redis no more than the access rules in docs/security.md grant', async () => {
  const { admin, url } = await open()
  const house = await openHouse({ url })
  await exercise(house)
  const denied = ((await admin.acl('LOG')) as string[][]).map((entry) => entry.slice(0, 8).join(' '))
  expect(denied).toEqual([])
  expect(house.log()).not.toContain('NOPERM')
}, 60_000)

it('is granted no command that neither its source nor its queue engine calls, and every one that its source calls', async () => {
  const { admin } = await open()
  const known = new Set((await admin.call('COMMAND', 'LIST')) as string[])
  const folders = [
    'api',
    'config',
    'events',
    'files',
    'batches',
    'jobs',
    'lib',
    'ratelimit',
    'webhooks',
    'workers',
  ]
  const source = globSync(
    folders.map((folder) => `${folder}/**/*.{ts,lua}`),
    { cwd: root },
  )
    .map(read)
    .concat(read('services.ts'))
    .join('\n')
  const engine = globSync('node_modules/bullmq/dist/cjs/commands/**/*.lua', { cwd: root })
    .map(read)
    .join('\n')
  const ours = new Set([
    ...[...source.matchAll(/redis\.p?call\(\s*'([A-Z]+)'/g)].map(([, name]) => name!.toLowerCase()),
    ...[...source.matchAll(/\b(?:redis|connection|pipeline|client|subscriber)\s*\??\.([a-z]+)\(/g)]
      .map(([, name]) => name!)
      .filter((name) => known.has(name) && !CLIENT_OWN.has(name)),
  ])
  const theirs = new Set(
    [...engine.matchAll(/\br?call\(\s*"([A-Za-z]+)"/g)].map(([, name]) => name!.toLowerCase()),
  )
  expect([...ours].filter((name) => !granted.includes(name))).toEqual([])
  // What the client library sends by itself when it connects.
  const used = new Set([...ours, ...theirs, 'exec', 'client', 'info', 'ping', 'evalsha', 'eval'])
  expect(granted.filter((name) => !used.has(name))).toEqual([])
})

/** Methods of the client that are not, or not only, commands; and commands that need no permission. */
const CLIENT_OWN = new Set(['exec', 'quit', 'hello', 'auth'])

it('can neither look beside its prefix nor touch the server', async () => {
  const { url } = await open()
  const client = new Redis(url)
  onTestFinished(() => client.disconnect())
  await client.set('sluice:{t:a}:x', '1')
  for (const command of [
    ['GET', 'other:{t:a}:x'],
    ['PUBLISH', 'other:wake', '1'],
    ['SUBSCRIBE', 'other:wake'],
    ['PSUBSCRIBE', '*'],
    ['EVAL', "return redis.call('GET', 'other')", '0'],
    ['KEYS', '*'],
    ['SCAN', '0'],
    ['FLUSHALL'],
    ['FLUSHDB'],
    ['CONFIG', 'GET', '*'],
    ['SCRIPT', 'FLUSH'],
    ['FUNCTION', 'LIST'],
    ['ACL', 'LIST'],
    ['CLIENT', 'KILL', 'TYPE', 'normal'],
    ['MONITOR'],
    ['SHUTDOWN'],
    ['REPLICAOF', 'NO', 'ONE'],
    ['MODULE', 'LIST'],
    ['DUMP', 'sluice:{t:a}:x'],
    ['MIGRATE', 'h', '1', 'sluice:{t:a}:x', '0', '1'],
  ]) {
    const [name, ...args] = command as [string, ...string[]]
    await expect(client.call(name, ...args), command.join(' ')).rejects.toThrow(
      /NOPERM|can't access|No permissions/i,
    )
  }
})
