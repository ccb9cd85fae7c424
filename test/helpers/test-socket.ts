import { type ClientOptions, WebSocket } from 'ws'

export type Message = { type: string; id?: string | null; [member: string]: unknown }

/** A WebSocket that a test reads message by message. */
export type TestSocket = {
  socket: WebSocket
  send(message: unknown): void
  /** The next message; throws when the socket is closed before it. */
  next(): Promise<Message>
  /** The next `count` messages. */
  take(count: number): Promise<Message[]>
  /** The next message for which `wanted` is true; those before it are dropped. */
  find(wanted: (message: Message) => boolean): Promise<Message>
  /** How it was closed. */
  closed: Promise<{ code: number; reason: string }>
}

/** Resolves when the socket is open; throws the status and the body if the server answers otherwise. */
export async function openSocket(url: string, options: ClientOptions = {}): Promise<TestSocket> {
  const socket = new WebSocket(url.replace(/^http/, 'ws'), options)
  const messages: Message[] = []
  let wake = () => {}
  let end: { code: number; reason: string } | null = null
  socket.on('message', (data) => {
    messages.push(JSON.parse(String(data)))
    wake()
  })
  const closed = new Promise<{ code: number; reason: string }>((resolve) => {
    socket.on('close', (code, reason) => {
      end = { code, reason: String(reason) }
      wake()
      resolve(end)
    })
  })
  socket.on('error', () => {})
  await new Promise<void>((resolve, reject) => {
    socket.once('open', resolve)
    socket.once('error', reject)
    socket.once('unexpected-response', (_request, response) => {
      let body = ''
      response.on('data', (chunk) => {
        body += chunk
      })
      response.on('end', () => {
        reject(new RefusedUpgrade(response.statusCode!, body))
        socket.terminate()
      })
    })
  })

  async function next(): Promise<Message> {
    while (messages.length === 0) {
      if (end !== null) throw new Error(`the socket was closed: ${JSON.stringify(end)}`)
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    }
    return messages.shift()!
  }

  return {
    socket,
    closed,
    next,
    send: (message) => socket.send(typeof message === 'string' ? message : JSON.stringify(message)),
    async take(count) {
      const found: Message[] = []
      while (found.length < count) found.push(await next())
      return found
    },
    async find(wanted) {
      for (;;) {
        const message = await next()
        if (wanted(message)) return message
      }
    },
  }
}

class RefusedUpgrade extends Error {
  readonly status: number
  readonly body: { error: { code: string; param: string | null } }

  constructor(status: number, body: string) {
    super(`the upgrade was answered ${status}`)
    this.status = status
    this.body = JSON.parse(body)
  }
}
