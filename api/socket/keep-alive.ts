import type { WebSocket } from '@fastify/websocket'

/**
 * Pings a socket, because a peer may disappear without closing it. Returns a function that stops the pings.
 *
 * @param does.ping called with each ping
 * @param does.miss called when the last ping was not answered; never while the socket is paused
 */
export function keepAlive(
  socket: WebSocket,
  everyMs: number,
  does: { ping: () => void; miss: () => void },
): () => void {
  let isHeard = true
  socket.on('pong', () => {
    isHeard = true
  })
  const timer = setInterval(() => {
    if (!isHeard && !socket.isPaused) return does.miss()
    isHeard = false
    socket.ping()
    does.ping()
  }, everyMs)
  timer.unref()
  return () => clearInterval(timer)
}
