import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { onTestFinished } from 'vitest'

/** An answer on its way, which its reader may change. */
export type PassingAnswer = { request: string; status: number; text: string }

/**
 * A proxy in front of a server of the test that lets the test change each answer. Closed with the test.
 *
 * @param target URL with a path
 * @param alter `request`: `GET /v1/batches/x`
 * @returns the URL of the same path through the proxy
 */
export async function startAlteringProxy(
  target: string,
  alter: (answer: PassingAnswer) => void | Promise<void>,
): Promise<string> {
  const { origin, pathname } = new URL(target)
  const server = createServer(async (request, response) => {
    try {
      const { method, url, headers } = request
      const body = await buffer(request)
      const passed = await fetch(`${origin}${url}`, {
        method: method!,
        headers: Object.entries(headers).flatMap(([name, value]): [string, string][] =>
          ['host', 'connection', 'content-length', 'transfer-encoding'].includes(name)
            ? []
            : [[name, String(value)]],
        ),
        ...(body.length === 0 ? {} : { body }),
      })
      const answer = { request: `${method} ${url}`, status: passed.status, text: await passed.text() }
      await alter(answer)
      response.writeHead(answer.status, { 'content-type': passed.headers.get('content-type') ?? '' })
      response.end(answer.text)
    } catch {
      response.destroy()
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}${pathname}`
}
