import { once } from 'node:events'
import { createServer, request as send } from 'node:http'
import type { AddressInfo } from 'node:net'

export type BreakingProxy = { url: string; breaks(): number; close(): void }

/** Passes everything on to the API, but breaks the connection of an event stream after so many bytes. */
export async function startBreakingProxy(target: string, bytes: number): Promise<BreakingProxy> {
  let breaks = 0
  const server = createServer((request, response) => {
    const { method, url = '', headers } = request
    const onward = send(target + url, { method, headers }, (answer) => {
      response.writeHead(answer.statusCode!, answer.headers)
      if (!url.includes('/events')) return answer.pipe(response)
      let left = bytes
      answer.on('data', (chunk: Buffer) => {
        response.write(chunk.subarray(0, left), () => {
          left -= chunk.length
          if (left > 0 || response.destroyed) return
          breaks++
          response.destroy()
          onward.destroy()
        })
      })
      answer.on('end', () => response.end())
    })
    onward.on('error', () => response.destroy())
    request.pipe(onward)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    breaks: () => breaks,
    close() {
      server.close()
      server.closeAllConnections()
    },
  }
}
