import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { createPubSub } from '../../../jobs/pubsub.ts'
import { closeRedis, createRedis, isRedisUnavailable, type RedisRole } from '../../../lib/redis.ts'
import { chatJob, createTestApi } from '../../helpers/api.ts'
import { placeOn } from '../../helpers/redis.ts'
import { startTestCluster, type TestCluster } from '../../helpers/redis-cluster.ts'
import { newJob } from '../../helpers/store.ts'
import { exercise, openHouse } from '../security/house.ts'
import { embedJob, ended, openWorkshop, submitMany } from '../workers/fixture.ts'

let cluster: TestCluster
beforeAll(async () => {
  cluster = await startTestCluster()
})
afterAll(() => cluster?.close())

function connect(role: RedisRole) {
  const client = createRedis({ cluster: cluster.urls, role, name: 'test' })
  onTestFinished(() => closeRedis(client))
  return client
}

test('jobs of tenants on different nodes share requests, and each is paid for once', async () => {
  const tenants = Array.from({ length: 6 }, (_, index) => `tenant-${index}`)
  const place = placeOn(cluster.urls)
  const { store, simulator, errors, work } = await openWorkshop({ store: { place } })
  await store.maintenance.register(tenants)
  const slots = await Promise.all(tenants.map((tenant) => cluster.slotOf(`${place.prefix}:{t:${tenant}}`)))
  expect(new Set(await Promise.all(slots.map(cluster.ownerOf))).size).toBeGreaterThan(1)
  await work()
  const jobs = tenants.flatMap((tenant) => [
    embedJob(`a text of ${tenant}`, { tenant }),
    newJob({ tenant }, `a question of ${tenant}`),
  ])
  const ids = await submitMany(store, jobs)
  for (const [index, id] of ids.entries()) {
    expect((await ended(store, id, jobs[index]!.tenant)).status).toBe('completed')
  }
  const { billed_inputs, by_path } = simulator.state()
  expect(billed_inputs).toBe(jobs.length)
  expect(by_path['/v1/embeddings']![200]).toBeLessThan(tenants.length)
  expect(by_path['/v1/chat/completions']![200]).toBe(tenants.length)
  expect(errors).toEqual([])
})

test('the API creates, lists, awaits and cancels, and streams a group to its end', async () => {
  const api = await createTestApi({ place: placeOn(cluster.urls) })
  onTestFinished(() => api.close())
  const url = await api.listen()
  const ask = async (method: string, path: string, body?: object) => {
    const headers = { 'content-type': 'application/json' }
    const init = body ? { method, headers, body: JSON.stringify(body) } : { method }
    const answer = await fetch(url + path, init)
    return { status: answer.status, text: await answer.text() }
  }
  const create = async (text: string) => {
    const { status, text: answer } = await ask('POST', '/v1/jobs', chatJob({ group: 'all' }, text))
    expect(status).toBe(202)
    return (JSON.parse(answer) as { id: string }).id
  }
  const ids = [await create('one'), await create('two'), await create('three')]
  const events = ask('GET', '/v1/groups/all/events')
  const waiting = ask('GET', `/v1/jobs/${ids[0]}?wait=20`)
  await api.worker.finish(ids[0]!)
  await api.worker.finishFailed(ids[1]!)
  expect((await ask('POST', `/v1/jobs/${ids[2]}/cancel`)).status).toBe(200)
  expect(JSON.parse((await waiting).text)).toMatchObject({ status: 'completed' })
  const told = [...(await events).text.matchAll(/^event: (job\.(?:completed|failed|cancelled))$/gm)]
  expect(told.map(([, event]) => event)).toEqual(['job.completed', 'job.failed', 'job.cancelled'])
  const list = JSON.parse((await ask('GET', '/v1/jobs')).text) as { data: { id: string }[] }
  expect(list.data.map(({ id }) => id)).toEqual([...ids].reverse())
})

test('the access rules in docs/security.md grant all that the service does on a cluster', async () => {
  const text = readFileSync(new URL('../../../docs/security.md', import.meta.url), 'utf8')
  const [, rules = ''] = /```acl\nuser sluice (on .*?)```/s.exec(text) ?? []
  const [, further = ''] = /A Redis Cluster needs ((?:`[^`]+` ?)+)also/.exec(text) ?? []
  expect(further).toContain('cluster|slots')
  const words = [...rules.trim().split(/\s+/), ...further.replaceAll('`', '').trim().split(' ')]
  for (const node of cluster.nodes) {
    await node.acl('SETUSER', 'sluice', 'reset', ...words.map((word) => word.replace('PASSWORD', 'secret')))
    await node.acl('LOG', 'RESET')
  }
  const urls = cluster.urls.map((url) => url.replace('redis://', 'redis://sluice:secret@'))
  const house = await openHouse({ cluster: urls })
  await exercise(house)
  const denied = await Promise.all(cluster.nodes.map((node) => node.acl('LOG') as Promise<string[][]>))
  expect(denied.flat().map((entry) => entry.slice(0, 8).join(' '))).toEqual([])
  expect(house.log()).not.toContain('NOPERM')
}, 60_000)

test('subscriptions are restored at another node, and listeners are told', async () => {
  const pubsub = createPubSub({ subscriber: connect('subscriber') })
  const heard: string[] = []
  await pubsub.listen('news', (message) => heard.push(message))
  const again = new Promise<void>((resolve) => pubsub.onReconnect(resolve))
  await Promise.all(cluster.nodes.map((node) => node.call('CLIENT', 'KILL', 'TYPE', 'pubsub')))
  await again
  // Published at each node, received at the one.
  for (const [index, node] of cluster.nodes.entries()) await node.publish('news', `from ${index}`)
  await expect.poll(() => heard.filter(Boolean).sort()).toEqual(['from 0', 'from 1', 'from 2'])
})

test('commands fail within their time while no node is there', async () => {
  const client = connect('commands')
  expect(await client.set('{a}', '1')).toBe('OK')
  await cluster.close()
  for (let call = 0; call < 3; call++) {
    const began = performance.now()
    const error = await client.get('{a}').then(
      () => expect.unreachable('it should have failed'),
      (reason: unknown) => reason,
    )
    expect(isRedisUnavailable(error), String(error)).toBe(true)
    expect(performance.now() - began).toBeLessThan(10_000)
  }
})
