import type { WebSocket } from '@fastify/websocket'
import { stringifyLine } from '../../lib/json-source.ts'
import type { ServerMessage } from './messages.ts'

/** Sends messages on a socket, no faster than its client reads them. */
export type Outlet = {
  /** Resolves when there is room for another message; a busy sender waits for it. Messages after the socket's end are dropped. */
  send(message: ServerMessage): Promise<void>
}

/**
 * @param deps.bufferBytes bytes that may wait in the socket; one message may be larger
 * @param deps.onTooSlow called when the client read too little for `patienceMs`
 */
export function createOutlet(deps: {
  socket: WebSocket
  bufferBytes: number
  patienceMs: number
  onSent: (type: ServerMessage['type']) => void
  onTooSlow: () => void
}): Outlet {
  const { socket, bufferBytes, patienceMs } = deps
  let waiting = 0
  let room: PromiseWithResolvers<void> | null = null
  let timer: NodeJS.Timeout | undefined
  /** Sends one message after the other, so that at most one exceeds the bound. */
  let turn: Promise<void> = Promise.resolve()

  function taken(bytes: number): void {
    waiting -= bytes
    if (waiting >= bufferBytes) return
    clearTimeout(timer)
    room?.resolve()
    room = null
  }

  socket.once('close', () => {
    clearTimeout(timer)
    room?.resolve()
    room = null
  })

  async function sendNext(message: ServerMessage): Promise<void> {
    if (socket.readyState !== socket.OPEN) return
    const text = Buffer.from(stringifyLine(message))
    waiting += text.length
    socket.send(text, { binary: false }, () => taken(text.length))
    deps.onSent(message.type)
    if (waiting < bufferBytes || socket.readyState !== socket.OPEN) return
    room = Promise.withResolvers()
    timer = setTimeout(deps.onTooSlow, patienceMs)
    await room.promise
  }

  return {
    send(message) {
      const sent = turn.then(() => sendNext(message))
      turn = sent.catch(() => {})
      return sent
    },
  }
}
