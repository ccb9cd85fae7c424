import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

export type SlowRelay = {
  port: number
  /** From now on bytes arrive this much later, in both directions. */
  slowTo(ms: number): void
  close(): Promise<void>
}

/** Passes connections on to a server of 127.0.0.1 like a slow line: nothing is lost, and the order stays. */
export async function startSlowRelay(target: number): Promise<SlowRelay> {
  const sockets = new Set<Socket>()
  let delayMs = 0
  const server = createServer((near) => {
    const far = connect(target, '127.0.0.1')
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from)
      let lastAt = 0
      from.on('data', (bytes) => {
        lastAt = Math.max(lastAt, performance.now() + delayMs)
        setTimeout(() => to.writable && to.write(bytes), Math.max(0, lastAt - performance.now()))
      })
      from.on('error', () => to.destroy())
      from.on('close', () => {
        sockets.delete(from)
        to.destroy()
      })
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    slowTo(ms) {
      delayMs = ms
    },
    async close() {
      const closed = once(server, 'close')
      server.close()
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}
