import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { Webhook } from 'standardwebhooks'

export const WEBHOOK_SECRET = `whsec_${Buffer.from('the secret of the webhook tests').toString('base64')}`

export type Received = { id: string; path: string; headers: IncomingHttpHeaders; body: string }

/** Answers the nth request (from 0); 204 by default. */
export type Answerer = (received: Received, index: number, response: ServerResponse) => void | Promise<void>

/** A webhook receiver on 127.0.0.1 that keeps its requests, in order. */
export async function startReceiver(
  answer: Answerer = (_received, _index, response) => void response.writeHead(204).end(),
) {
  const received: Received[] = []
  const open = new Map<string, number>()
  let waiters: { count: number; resolve: () => void }[] = []
  /** The most requests that were unanswered at the same time, overall and for one webhook id. */
  const most = { open: 0, openOfOneId: 0 }

  const server = createServer(async (request, response) => {
    const id = String(request.headers['webhook-id'])
    const body = await text(request)
    open.set(id, (open.get(id) ?? 0) + 1)
    most.openOfOneId = Math.max(most.openOfOneId, open.get(id) ?? 0)
    most.open = Math.max(
      most.open,
      [...open.values()].reduce((sum, count) => sum + count, 0),
    )
    response.on('close', () => open.set(id, (open.get(id) ?? 1) - 1))
    const got = { id, path: request.url ?? '', headers: request.headers, body }
    const index = received.push(got) - 1
    await answer(got, index, response)
    waiters = waiters.filter(({ count, resolve }) => received.length < count || resolve())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')

  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`,
    received,
    most,
    /** Resolves when so many requests were answered. */
    got(count: number): Promise<void> {
      if (received.length >= count) return Promise.resolve()
      return new Promise((resolve) => waiters.push({ count, resolve }))
    },
    /** Ends every open request without an answer, and every later one. */
    hangUp(): void {
      server.removeAllListeners('request')
      server.on('request', (request) => request.destroy())
      server.closeAllConnections()
    },
    async close(): Promise<void> {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

/** The body, if the reference implementation accepts the webhook; otherwise it throws. */
export function verifyReceived(received: Received | undefined, secret = WEBHOOK_SECRET): unknown {
  if (!received) throw new Error('nothing was received')
  return new Webhook(secret).verify(received.body, received.headers as Record<string, string>)
}
