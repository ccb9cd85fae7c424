#!/usr/bin/env node
// The command `sluice` of the npm package.
//
//   npx sluice demo     the demonstration
//   npx sluice start    the API, a worker and a Redis in one process, as `npm start` in a clone
//   npx sluice …        every other command of main.js: api, worker, submit, …
//
// It starts the program in a process of its own, for V8 takes the size of the young generation at start only.
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { constants } from 'node:os'
import { fileURLToPath } from 'node:url'

const path = (name) => fileURLToPath(new URL(`../${name}`, import.meta.url))
const { engines } = JSON.parse(readFileSync(path('package.json'), 'utf8'))
const [major, minor] = engines.node.match(/\d+/g).map(Number)
const [ownMajor, ownMinor] = process.versions.node.split('.').map(Number)
if (ownMajor < major || (ownMajor === major && ownMinor < minor)) {
  console.error(
    `sluice: Node ${engines.node} is needed, and this is ${process.versions.node}. Install it from https://nodejs.org/.`,
  )
  process.exit(1)
}

const [command, ...rest] = process.argv.slice(2)
const args =
  command === 'demo'
    ? [path('scripts/demo.js'), ...rest]
    : [path('main.js'), ...(command === undefined ? [] : [command === 'start' ? 'all' : command]), ...rest]
const child = spawn(
  process.execPath,
  [
    '--max-semi-space-size=16',
    '--import',
    new URL('../scripts/exit-with-parent.mjs', import.meta.url).href,
    ...args,
  ],
  {
    // A session of its own: a signal reaches it once, from here, and not from the terminal as well.
    detached: true,
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
    env: {
      // The same values as in scripts/bootstrap.mjs, which says why.
      MALLOC_ARENA_MAX: '2',
      MALLOC_TRIM_THRESHOLD_: '131072',
      ...process.env,
      SLUICE_PARENT_PID: String(process.pid),
    },
  },
)
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
child.on('error', (error) => {
  console.error(`sluice: ${error.message}`)
  process.exit(1)
})
child.on('exit', (code, signal) => process.exit(code ?? 128 + constants.signals[signal]))
