import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll } from 'vitest'
import { endFile } from './at-end-of-file.ts'

/** Kinds of handles that a test file has to close. Timers are left out: the runner has some of its own. */
const KINDS = ['TCPServerWrap', 'TCPSocketWrap', 'PipeWrap', 'ProcessWrap', 'FSEventWrap', 'UDPWrap']

/** Closed sockets and killed children get this long to disappear. */
const GRACE_MS = 10_000

// stdin becomes a handle at its first use, and packages use it when they are loaded.
void process.stdin

const before = countHandles()

// The first registered hook runs last: after those in which the file cleans up.
afterAll(async () => {
  await endFile()
  const deadline = performance.now() + GRACE_MS
  for (let left = findLeaks(); left.length > 0; left = findLeaks()) {
    if (performance.now() > deadline) throw new Error(`this file left handles open: ${left.join(', ')}`)
    await sleep(20)
  }
})

function findLeaks(): string[] {
  const now = countHandles()
  return KINDS.filter((kind) => (now[kind] ?? 0) > (before[kind] ?? 0)).map(
    (kind) => `${(now[kind] ?? 0) - (before[kind] ?? 0)} ${kind}`,
  )
}

function countHandles(): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const kind of process.getActiveResourcesInfo()) counts[kind] = (counts[kind] ?? 0) + 1
  return counts
}
