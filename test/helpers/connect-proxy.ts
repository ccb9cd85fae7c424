import { createServer } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { request } from 'undici'

/** Headers between two neighbours, which are not passed on (RFC 9110 §7.6.1). */
const HOP_BY_HOP = new Set([
  'connection',
  'proxy-connection',
  'keep-alive',
  'transfer-encoding',
  'te',
  'upgrade',
])

export type ConnectProxy = {
  url: string
  /** The requests, in order: `CONNECT host:port`, or `POST http://…`. */
  asked: string[]
  /** `Proxy-Authorization` of each. */
  credentials: (string | undefined)[]
  close(): Promise<void>
}

/**
 * A proxy on 127.0.0.1 that opens tunnels, and passes plain HTTP on.
 *
 * @param options.to the port of 127.0.0.1 to which every request goes, for any requested address
 * @param options.refuse the status of the answer to every CONNECT
 */
export async function startConnectProxy(
  options: { to?: number; refuse?: number } = {},
): Promise<ConnectProxy> {
  const asked: string[] = []
  const credentials: (string | undefined)[] = []
  const sockets = new Set<Socket>()
  const server = createServer(async (incoming, outgoing) => {
    asked.push(`${incoming.method} ${incoming.url}`)
    const { 'proxy-authorization': credential, ...rest } = incoming.headers
    const headers = Object.fromEntries(Object.entries(rest).filter(([name]) => !HOP_BY_HOP.has(name)))
    credentials.push(credential)
    const target = new URL(incoming.url!)
    if (options.to !== undefined) target.host = `127.0.0.1:${options.to}`
    const answer = await request(target, { method: incoming.method as 'POST', headers, body: incoming })
    outgoing.writeHead(answer.statusCode, answer.headers)
    answer.body.pipe(outgoing)
  })
  server.on('connect', (incoming, socket: Socket, head: Buffer) => {
    asked.push(`CONNECT ${incoming.url}`)
    credentials.push(incoming.headers['proxy-authorization'])
    sockets.add(socket)
    socket.on('error', () => {})
    if (options.refuse !== undefined) return void socket.end(`HTTP/1.1 ${options.refuse} No\r\n\r\n`)
    const target = new URL(`tcp://${incoming.url}`)
    const far = connect(options.to ?? Number(target.port), '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n')
      far.write(head)
      far.pipe(socket).pipe(far)
    })
    sockets.add(far)
    far.on('error', () => socket.destroy())
  })
  server.listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    credentials,
    async close() {
      for (const socket of sockets) socket.destroy()
      const closed = new Promise((resolve) => server.close(resolve))
      server.closeAllConnections()
      await closed
    },
  }
}
