import { expect, it, onTestFinished, vi } from 'vitest'
import { createCommandMeter } from '../../lib/command-meter.ts'
import { GatheringRedis } from '../../lib/gathering-redis.ts'
import { closeRedis } from '../../lib/redis.ts'
import { startTestRedis, testRedis } from '../helpers/redis.ts'

async function connect(url: string) {
  const client = new GatheringRedis(url, { retryStrategy: () => 20 })
  client.on('error', () => {})
  onTestFinished(() => closeRedis(client))
  await client.ping()
  return client
}

it('sends the commands of one turn in one write, and answers them in their order', async () => {
  const { url, prefix } = testRedis()
  const client = await connect(url)
  const alone = vi.spyOn(client.stream, '_write')
  const together = vi.spyOn(client.stream, '_writev')
  const answers = await Promise.all(
    Array.from({ length: 100 }, async (_, index) => {
      await null // In microtasks of the same turn, as most commands come.
      return client.incrby(`${prefix}:count`, index)
    }),
  )
  expect(answers.at(-1)).toBe(4950)
  expect(answers).toEqual([...answers].sort((a, b) => a - b))
  expect(alone.mock.calls.length + together.mock.calls.length).toBe(1)
  await client.del(`${prefix}:count`)
})

it('counts its commands and writes', async () => {
  const redis = await startTestRedis()
  onTestFinished(() => redis.close())
  const client = await connect(redis.url)
  client.meter = createCommandMeter()
  await Promise.all([client.set('a', '1'), client.get('a'), client.multi().incr('a').incr('a').exec()])
  await expect(client.hget('a', 'b')).rejects.toThrow('WRONGTYPE')
  // MULTI, twice INCR and EXEC are four.
  expect(client.meter).toMatchObject({ commands: 7, writes: 2, failures: 1 })
  expect(client.meter.waitedMs).toBeGreaterThan(0)
  // A command that waits for a connection, and is sent when there is one, counts once.
  client.disconnect(true)
  expect(await client.echo('a')).toBe('a')
  const { commands } = client.meter
  expect(commands).toBeGreaterThanOrEqual(8)
  await client.echo('b')
  expect(client.meter.commands).toBe(commands + 1)
})

it('does not hold a command back until the ones before it are answered', async () => {
  const { url, prefix } = testRedis()
  const client = await connect(url)
  const blocked = client.blpop(`${prefix}:list`, 5)
  await new Promise((resolve) => setImmediate(resolve))
  const written = client.stream.bytesWritten
  const next = client.ping()
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
  expect(client.stream.bytesWritten).toBeGreaterThan(written)
  const other = await connect(url)
  await other.rpush(`${prefix}:list`, 'go')
  expect(await blocked).toEqual([`${prefix}:list`, 'go'])
  expect(await next).toBe('PONG')
})

it('goes on after a lost connection, and loses only what was under way', async () => {
  const redis = await startTestRedis()
  onTestFinished(() => redis.close())
  const client = await connect(redis.url)
  const other = await connect(redis.url)
  const id = await client.client('ID')
  await other.client('KILL', 'ID', id)
  // Issued before or after the loss is known: the next connection answers both.
  const answers = await Promise.all([client.echo('a'), client.echo('b')])
  expect(answers).toEqual(['a', 'b'])
})

it('closes in the middle of a turn without losing earlier commands', async () => {
  const { url, prefix } = testRedis()
  const client = await connect(url)
  const said = client.set(`${prefix}:last`, 'word', 'PX', 5000)
  const left = client.quit()
  expect(await said).toBe('OK')
  expect(await left).toBe('OK')
})
