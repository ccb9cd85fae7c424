import { hash } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { readScripts } from '../../jobs/scripts.ts'
import type { LuaScript } from '../../lib/lua-script.ts'

/** The way of a worker's connections to its Redis, to break them between one command and the next. */
export type Tap = {
  url: string
  /** The listener gets each command before it is passed on. */
  onCommand(listener: (command: Buffer) => void): void
  /**
   * Resolves at the next storing of a result. `before`: Redis has not seen the command. `after`: it has carried it
   * out. From then until `cut` nothing is passed on, neither its answer nor anything else.
   */
  catchResult(moment: 'before' | 'after'): Promise<void>
  /** The same for the next command that runs this script. */
  catchScript(script: LuaScript, moment: 'before' | 'after'): Promise<void>
  /** Ends all connections and refuses new ones. */
  cut(): void
  /** Serves again as before. */
  mend(): void
  close(): Promise<void>
}

const SENTINEL = 'the end of what a tap let through'
/**
 * How jobs/scripts.ts calls the script that stores results: by digest, or by its text if Redis does not know it yet.
 */
const FINISH = readScripts().get('finish')!
const STORE: LuaScript = { text: FINISH, sha: hash('sha1', FINISH) }

/** @param target URL of the Redis on 127.0.0.1 */
export async function openTap(target: string): Promise<Tap> {
  const { port, password } = new URL(target)
  const open = new Set<Socket>()
  const listeners: ((command: Buffer) => void)[] = []
  let caught: {
    isIt: (command: Buffer) => boolean
    moment: 'before' | 'after'
    resolve: () => void
  } | null = null
  let state: 'open' | 'held' | 'cut' = 'open'

  const server = createServer((client) => {
    if (state === 'cut') return void client.destroy()
    const redis = connect(Number(port), '127.0.0.1')
    const split = createCommandSplitter()
    // Set on the connection whose command was caught.
    let executed: (() => void) | null = null
    for (const [socket, other] of [
      [client, redis],
      [redis, client],
    ] as const) {
      open.add(socket)
      socket.setNoDelay(true)
      socket.on('error', () => {})
      socket.on('close', () => {
        open.delete(socket)
        other.destroy()
      })
    }
    client.on('data', (chunk: Buffer) => {
      for (const command of split(chunk)) {
        if (state !== 'open') return
        for (const listener of listeners) listener(command)
        if (caught?.isIt(command)) {
          const { moment, resolve } = caught
          caught = null
          state = 'held'
          if (moment === 'before') return resolve()
          // Redis answers in order: with this answer it has carried out the earlier commands.
          executed = resolve
          redis.write(command)
          redis.write(`*2\r\n$4\r\nECHO\r\n$${SENTINEL.length}\r\n${SENTINEL}\r\n`)
          return
        }
        redis.write(command)
      }
    })
    let tail = ''
    redis.on('data', (chunk: Buffer) => {
      if (state === 'open') return void client.write(chunk)
      if (executed === null) return
      tail = (tail + chunk.toString('latin1')).slice(-2 * SENTINEL.length - chunk.length)
      if (tail.includes(SENTINEL)) executed()
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')

  function cut(): void {
    state = 'cut'
    caught = null
    for (const socket of open) socket.destroy()
  }

  return {
    url: `redis://:${password}@127.0.0.1:${(server.address() as AddressInfo).port}`,
    onCommand: (listener) => void listeners.push(listener),
    catchResult: (moment) =>
      new Promise((resolve) => {
        const isIt = (command: Buffer) => runs(STORE, command) && command.includes('completed')
        caught = { isIt, moment, resolve }
      }),
    catchScript: (script, moment) =>
      new Promise((resolve) => {
        caught = { isIt: (command) => runs(script, command), moment, resolve }
      }),
    cut,
    mend() {
      state = 'open'
    },
    async close() {
      cut()
      server.close()
      await once(server, 'close')
    },
  }
}

/** Cuts what a client sends (RESP: arrays of bulk strings) into its commands, each unchanged. */
export function createCommandSplitter(): (chunk: Buffer) => Buffer[] {
  let rest: Buffer = Buffer.alloc(0)
  return (chunk) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    const commands: Buffer[] = []
    for (let end = findEnd(rest); end !== null; end = findEnd(rest)) {
      commands.push(rest.subarray(0, end))
      rest = rest.subarray(end)
    }
    return commands
  }
}

/** Where the first command ends; null: it is not complete. */
function findEnd(bytes: Buffer): number | null {
  const readCount = (at: number) => {
    const end = bytes.indexOf('\r\n', at)
    return end < 0 ? null : { count: Number(bytes.toString('latin1', at + 1, end)), next: end + 2 }
  }
  const head = readCount(0)
  if (head === null) return null
  let at = head.next
  for (let argument = 0; argument < head.count; argument++) {
    const length = readCount(at)
    if (length === null) return null
    at = length.next + length.count + 2
  }
  return at <= bytes.length ? at : null
}

function runs({ sha, text }: LuaScript, command: Buffer): boolean {
  return command.includes(sha) || command.includes(text)
}
