import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

export type Relay = {
  url: string
  /** Breaks every connection, and every new one at once. */
  cut(): void
  /**
   * Swallows all bytes from now on, in both directions, without a reset: a connection that dies silently. New
   * connections work.
   */
  swallow(): void
  /** Swallows the bytes of new connections as well: they open, and nothing else happens. */
  swallowAll(): void
  /** Lets new connections work again; those that are swallowed stay so. */
  mend(): void
  /** Connections made so far. */
  readonly count: number
  close(): Promise<void>
}

/** The URL of a server through the relay, with its password. */
export function routeThrough(relay: Pick<Relay, 'url'>, target: string): string {
  const url = new URL(target)
  url.host = new URL(relay.url).host
  return url.href
}

/** Passes connections on to a server, until they are cut. */
export async function startRelay(target: string): Promise<Relay> {
  const { hostname, port } = new URL(target)
  const sockets = new Set<Socket>()
  let isCut = false
  let isSwallowing = false
  let count = 0
  const server = createServer({ allowHalfOpen: false }, (near) => {
    count++
    if (isCut) return near.resetAndDestroy()
    const far = connect(Number(port), hostname)
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(socket)
      socket.pipe(other)
      socket.on('error', () => other.destroy())
      socket.on('close', () => {
        sockets.delete(socket)
        other.destroy()
      })
    }
    if (isSwallowing) swallowAll(near, far)
  })
  /** Reads on, so that no side notices a full buffer, and tells neither side when the other one closes. */
  function swallowAll(...pair: Socket[]): void {
    for (const socket of pair) {
      socket.unpipe()
      socket.removeAllListeners('close')
      socket.on('close', () => sockets.delete(socket))
      socket.removeAllListeners('data')
      socket.resume()
    }
  }
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const breakAll = () => {
    for (const socket of sockets) socket.destroy()
  }
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    cut() {
      isCut = true
      breakAll()
    },
    swallow() {
      swallowAll(...sockets)
    },
    swallowAll() {
      isSwallowing = true
      swallowAll(...sockets)
    },
    mend() {
      isCut = false
      isSwallowing = false
    },
    get count() {
      return count
    },
    async close() {
      const closed = once(server, 'close')
      server.close()
      breakAll()
      await closed
    },
  }
}
