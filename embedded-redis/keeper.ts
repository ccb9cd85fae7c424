/**
 * The process between a program and its embedded Redis: it runs the server and stops it when the program ends in any
 * way, because the channel to it closes then. Only embedded-redis.ts starts it:
 *
 *   node embedded-redis-keeper.ts SERVER [ARGUMENTS]
 */
import { spawn } from 'node:child_process'

/** After this a server that was asked to end is killed; writing out the last second of its log takes far less. */
const SHUTDOWN_MS = 10_000

// The program that reads these lines may end before the last of them.
process.stderr.on('error', () => {})

// Files of the server are only for the user who started it.
process.umask(0o077)

const [file = '', ...args] = process.argv.slice(2)
const server = spawn(file, args, { stdio: ['ignore', 'inherit', 'inherit'] })

server.on('error', (error) => {
  console.error(`# ${error.message}`)
  process.exit(127)
})
server.on('spawn', () => process.send?.({ pid: server.pid }))
server.on('exit', (code, signal) => {
  if (signal !== null) console.error(`# killed by ${signal}`)
  process.exit(code ?? 1)
})

for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, stop)
process.on('disconnect', stop)

/** SIGTERM makes Redis write its append-only file out and end. */
function stop(): void {
  server.kill('SIGTERM')
  setTimeout(() => server.kill('SIGKILL'), SHUTDOWN_MS).unref()
}
