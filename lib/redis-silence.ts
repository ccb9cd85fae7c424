import type { Redis } from 'ioredis'

/** Interval of checks of a connection, ms. */
const LOOK_MS = 500

/** Checks in a row without a received byte, while answers are awaited, after which a connection counts as dead: 3 s. */
const SILENT_LOOKS = 6

/** Checks without a command or a byte after which an idle connection gets a PING: 5 s. */
const IDLE_LOOKS = 10

/** The private members of ioredis' client that are read here. */
type Inner = { stream?: Redis['stream']; commandQueue: { length: number } }

/**
 * Drops a connection whose peer no longer answers, so that the client reconnects. If packets are lost on the way, as behind a firewall that
 * forgot the connection or after a host died, there is no reset: TCP retransmits for a quarter of an hour.
 *
 * It checks the socket twice a second and not at each command, so commands cost nothing. It counts checks, not time, because a process that
 * was blocked has its answers in the socket and reads them between two checks. An idle connection gets a PING, so that a subscriber notices
 * too.
 */
export function dropWhenSilent(client: Redis): void {
  const inner = client as unknown as Inner
  let stream: Redis['stream'] | undefined
  let bytes = 0
  let silent = 0
  let idle = 0

  function look(): void {
    const heard = inner.stream !== stream || (stream !== undefined && stream.bytesRead !== bytes)
    stream = inner.stream
    bytes = stream?.bytesRead ?? 0
    const isWaiting = inner.commandQueue.length > 0
    silent = heard || !isWaiting ? 0 : silent + 1
    idle = heard || isWaiting ? 0 : idle + 1
    if (stream === undefined || stream.destroyed || stream.connecting) {
      silent = 0
    } else if (silent >= SILENT_LOOKS) {
      silent = 0
      stream.destroy(
        new Error(`Socket timeout. Redis did not answer for ${(SILENT_LOOKS * LOOK_MS) / 1000} s.`),
      )
    } else if (idle >= IDLE_LOOKS && client.status === 'ready') {
      idle = 0
      client.ping().catch(() => {})
    }
  }

  const timer = setInterval(look, LOOK_MS)
  timer.unref()
  client.once('end', () => clearInterval(timer))
}
