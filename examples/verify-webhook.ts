/**
 * A receiver of Sluice's webhooks. Copy `webhooks/sign.ts` beside it: that file needs node:crypto alone.
 *
 *   WEBHOOK_SECRET=whsec_… PORT=4000 node examples/verify-webhook.ts
 */
import { createServer } from 'node:http'
import { text } from 'node:stream/consumers'
import { verifyWebhook } from '../webhooks/sign.ts'

const secret = process.env.WEBHOOK_SECRET
if (!secret) throw new Error('set WEBHOOK_SECRET to the secret in sluice.yaml (webhooks.secret)')

/** Ids handled already. A webhook may come more than once; keep these in your database. */
const seen = new Set<string>()

const server = createServer(async (request, response) => {
  // The signature covers the bytes that were sent, so it is checked before anything parses them.
  const body = await text(request)
  const header = (name: string) => request.headers[name]?.toString()
  const id = header('webhook-id')
  const verification = verifyWebhook({
    secret,
    id,
    timestamp: header('webhook-timestamp'),
    signature: header('webhook-signature'),
    body,
    nowSeconds: Date.now() / 1000,
  })
  if (!verification.ok || !id) {
    response.writeHead(400).end()
    return
  }
  // Answer first, work afterwards: an answer that takes over 15 seconds counts as none.
  response.writeHead(204).end()
  if (seen.has(id)) return
  seen.add(id)
  const { type, data } = JSON.parse(body)
  console.log(`${type} ${data.id}: ${data.status}`)
})

server.listen(Number(process.env.PORT ?? 4000), '127.0.0.1', () => {
  console.log('listening on', server.address())
})
