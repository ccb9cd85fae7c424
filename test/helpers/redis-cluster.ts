import { once } from 'node:events'
import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { EmbeddedRedis } from '../../embedded-redis/embedded-redis.ts'
import { startTestRedis } from './redis.ts'

const SLOTS = 16384
const MASTERS = 3
/** A node accepts no writes for its first two seconds in a cluster. */
const READY_MS = 20_000

export type TestCluster = {
  urls: string[]
  /** Clients of the single nodes, in the order of `urls`. */
  nodes: Redis[]
  slotOf(key: string): Promise<number>
  ownerOf(slot: number): Promise<number>
  /** Moves a slot's keys to another node, one by one with pauses between, as `redis-cli --cluster reshard` does. */
  moveSlot(slot: number, to: number, pauseMs?: number): Promise<{ keys: number }>
  close(): Promise<void>
}

/** A Redis Cluster of three masters on 127.0.0.1; takes three seconds. */
export async function startTestCluster({ nodeTimeoutMs = 5_000 } = {}): Promise<TestCluster> {
  const servers = await Promise.all(Array.from({ length: MASTERS }, () => startNode(nodeTimeoutMs)))
  const nodes = servers.map(({ server }) => new Redis(server.url, { replyMapping: 'legacy' }))
  for (const node of nodes) node.on('error', () => {})
  const close = async () => {
    for (const node of nodes) node.disconnect()
    await Promise.all(servers.map(({ server }) => server.close()))
  }
  try {
    const [first] = servers
    for (const [index, node] of nodes.entries()) {
      const from = Math.ceil((SLOTS * index) / MASTERS)
      const to = Math.ceil((SLOTS * (index + 1)) / MASTERS) - 1
      await node.call('CLUSTER', 'ADDSLOTSRANGE', from, to)
      await node.call('CLUSTER', 'SET-CONFIG-EPOCH', index + 1)
      if (index > 0) await node.call('CLUSTER', 'MEET', '127.0.0.1', first!.server.port, first!.busPort)
    }
    await untilReady(nodes)
  } catch (error) {
    await close()
    throw error
  }
  const ids = await Promise.all(nodes.map((node) => node.call('CLUSTER', 'MYID') as Promise<string>))

  async function ownerOf(slot: number): Promise<number> {
    const ranges = await nodes[0]!.cluster('SLOTS')
    const [, , owner] = ranges.find(([from, to]) => from <= slot && slot <= to)!
    return ids.indexOf(owner![2])
  }

  return {
    urls: servers.map(({ server }) => server.url),
    nodes,
    slotOf: (key) => nodes[0]!.cluster('KEYSLOT', key),
    ownerOf,
    async moveSlot(slot, to, pauseMs = 0) {
      const from = await ownerOf(slot)
      const [source, target] = [nodes[from]!, nodes[to]!]
      await target.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', ids[from]!)
      await source.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', ids[to]!)
      let moved = 0
      for (;;) {
        const keys = (await source.call('CLUSTER', 'GETKEYSINSLOT', slot, 20)) as string[]
        if (keys.length === 0) break
        for (const key of keys) {
          await source.call('MIGRATE', '127.0.0.1', servers[to]!.server.port, key, 0, 5_000)
          moved++
          if (pauseMs > 0) await sleep(pauseMs)
        }
      }
      // The new owner first, so that at every moment some node answers for the slot.
      for (const node of [target, source, ...nodes])
        await node.call('CLUSTER', 'SETSLOT', slot, 'NODE', ids[to]!)
      return { keys: moved }
    },
    close,
  }
}

async function startNode(nodeTimeoutMs: number): Promise<{ server: EmbeddedRedis; busPort: number }> {
  const busPort = await findFreePort()
  const server = await startTestRedis({
    hasPassword: false,
    extraArgs: [
      ...['--cluster-enabled', 'yes', '--cluster-announce-ip', '127.0.0.1'],
      ...['--cluster-port', String(busPort), '--cluster-node-timeout', String(nodeTimeoutMs)],
    ],
  })
  return { server, busPort }
}

async function untilReady(nodes: Redis[]): Promise<void> {
  const deadline = performance.now() + READY_MS
  for (;;) {
    const infos = (await Promise.all(nodes.map((node) => node.cluster('INFO')))) as string[]
    const isReady = (info: string) =>
      info.startsWith('cluster_state:ok') && info.includes(`cluster_known_nodes:${MASTERS}\r\n`)
    if (infos.every(isReady)) return
    if (performance.now() > deadline) throw new Error(`the cluster did not get ready: ${infos[0]}`)
    await sleep(20)
  }
}

async function findFreePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const address = probe.address()
  probe.close()
  await once(probe, 'close')
  if (address === null || typeof address === 'string') throw new Error('no free port')
  return address.port
}
