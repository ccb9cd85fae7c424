import { connect } from 'node:net'

export type EventSocketOptions = {
  /** With scheme, host, port and path. */
  url: string
  headers: Record<string, string>
  signal: AbortSignal
  /** Called with the status as soon as it has come. */
  onStatus: (status: number) => void
  /** Called with pieces of the body, each byte as one character. */
  onText: (text: string) => void
}

/**
 * Reads an answer in chunks, as event streams come. Thousands of these cost what some `fetch` would.
 *
 * @returns when the answer is complete, at once for any other status than 200
 * @throws when the connection breaks before
 */
export function readEvents(options: EventSocketOptions): Promise<void> {
  const { hostname, port, pathname, search } = new URL(options.url)
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname)
    const leave = () => socket.destroy()
    options.signal.addEventListener('abort', leave)
    let head = ''
    let readChunk: ((text: string) => boolean) | null = null
    let problem: Error | undefined

    function end(): void {
      resolve()
      socket.destroy()
    }

    const lines = [
      `GET ${pathname}${search} HTTP/1.1`,
      `host: ${hostname}:${port}`,
      'accept: text/event-stream',
    ]
    for (const [name, value] of Object.entries(options.headers)) lines.push(`${name}: ${value}`)
    socket.setEncoding('latin1').setNoDelay(true)
    socket.on('error', (error) => {
      problem = error
    })
    socket.on('close', () => {
      options.signal.removeEventListener('abort', leave)
      reject(problem ?? new Error('the connection was closed before the end'))
    })
    socket.on('connect', () => socket.write(`${lines.join('\r\n')}\r\n\r\n`))
    socket.on('data', (text: string) => {
      if (readChunk !== null) return void (readChunk(text) && end())
      head += text
      const body = head.indexOf('\r\n\r\n')
      if (body < 0) return
      const status = Number(head.slice(9, 12))
      options.onStatus(status)
      if (status !== 200) return end()
      readChunk = createChunkReader(options.onText)
      if (readChunk(head.slice(body + 4))) end()
    })
    if (options.signal.aborted) leave()
  })
}

/** Takes a body in chunked coding (RFC 9112, 7.1) out of it; the function returns true at the end of the body. */
export function createChunkReader(onText: (text: string) => void): (text: string) => boolean {
  let rest = ''
  return (text) => {
    rest += text
    for (;;) {
      const line = rest.indexOf('\r\n')
      if (line < 0) return false
      const size = Number.parseInt(rest.slice(0, line), 16)
      if (size === 0) return true
      const start = line + 2
      if (rest.length < start + size + 2) return false
      onText(rest.slice(start, start + size))
      rest = rest.slice(start + size + 2)
    }
  }
}
