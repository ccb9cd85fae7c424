import { createServer, type Socket } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { judgeAnswer } from '../../../workers/outcome.ts'
import { chatBody, openProvider } from './fixture.ts'

const ANSWER = '{"choices":[{"index":0,"message":{"role":"assistant","content":"a"},"finish_reason":"stop"}]}'

/** A server of one's own: called for each request on each of its connections. */
async function serve(onRequest: (socket: Socket, nth: number) => void) {
  const sockets: Socket[] = []
  let requests = 0
  const server = createServer((socket) => {
    sockets.push(socket)
    let own = 0
    socket.on('error', () => {})
    socket.on('data', () => {
      requests += 1
      own += 1
      onRequest(socket, own)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
  })
  const { port } = server.address() as { port: number }
  return { sockets, requests: () => requests, ...openProvider(`http://127.0.0.1:${port}/v1`) }
}

/** An answer is returned just before its connection is free. */
async function untilFree(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve))
}

function answer(socket: Socket): void {
  socket.write(
    `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${ANSWER.length}\r\n\r\n${ANSWER}`,
  )
}

test('a connection that is reset when it is reused is flagged, and says nothing about the provider', async () => {
  for (const end of [(socket: Socket) => socket.resetAndDestroy(), (socket: Socket) => socket.destroy()]) {
    const { ask, requests } = await serve((socket, nth) => (nth === 1 ? answer(socket) : end(socket)))
    expect(await ask({ body: chatBody('x') })).toMatchObject({ ok: true })
    await untilFree()
    const failure = await ask({ body: chatBody('x') })
    expect(failure).toMatchObject({
      ok: false,
      class: 'retryable',
      code: 'connection_error',
      ambiguous: true,
      staleConnection: true,
    })
    expect(judgeAnswer(failure, true)).toBeNull()
    // It was read, so nothing is sent again without the job knowing.
    expect(requests()).toBe(2)
    await untilFree()
    expect(await ask({ body: chatBody('x') })).toMatchObject({ ok: true })
  }
})

test('a fresh connection that is reset counts against the provider', async () => {
  const { ask, requests } = await serve((socket) => socket.resetAndDestroy())
  const failure = await ask({ body: chatBody('x') })
  expect(failure).toMatchObject({ ok: false, ambiguous: true })
  expect(failure).not.toHaveProperty('staleConnection')
  expect(judgeAnswer(failure, true)).toBe('broken')
  expect(requests()).toBe(1)
})

test('a request that an idle connection did not accept any more is sent again, invisible to the caller', async () => {
  const { ask, sockets, requests } = await serve((socket) => answer(socket))
  for (let call = 0; call < 5; call += 1) {
    expect(await ask({ body: chatBody('x') })).toMatchObject({ ok: true })
    await untilFree()
    // At once, so that this process learns of the reset after it has to send the next request.
    const { _handle: handle } = sockets.at(-1)! as unknown as { _handle: { reset(done: () => void): void } }
    handle.reset(() => {})
    expect(await ask({ body: chatBody('x') })).toMatchObject({ ok: true })
    await untilFree()
  }
  expect(requests()).toBe(10)
})
