import { once } from 'node:events'
import { createServer, request as send } from 'node:http'
import type { AddressInfo } from 'node:net'

export type PrefixProxy = {
  /** Address of the server, with a slash at the end. */
  url: string
  origin: string
  close(): Promise<void>
}

/**
 * A proxy that serves a server below a path. It removes the path before it passes a request on, and does not tell the
 * server about it.
 */
export async function startPrefixProxy(target: string, path: string): Promise<PrefixProxy> {
  const server = createServer((request, response) => {
    if (!request.url!.startsWith(`${path}/`)) {
      response.writeHead(404).end()
      return
    }
    const { method, headers } = request
    const passed = send(new URL(request.url!.slice(path.length), target), { method, headers }, (answer) => {
      response.writeHead(answer.statusCode!, answer.headers)
      answer.pipe(response)
    })
    passed.on('error', () => response.destroy())
    response.on('close', () => passed.destroy())
    request.pipe(passed)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    origin,
    url: `${origin}${path}/`,
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}
