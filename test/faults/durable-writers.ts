import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { GroupSummary } from '../../jobs/job.ts'
import { get } from './client.ts'
import { until } from './wait.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
/** What a report of examples/typescript/durable.ts buys: an outline, three chapters, and the whole. */
const CALLS = 5
const PAUSE_MS = 100
const PATIENCE_MS = 120_000

/** Writes reports by a durable function, one after the other, in processes that may be killed. */
export type DurableWriter = {
  /** Reports that were written. */
  written: readonly string[]
  /** How often its process was killed. */
  kills: number
  kill(): Promise<void>
  /** Ends with the current report, and says what does not hold for all of them. */
  conclude(): Promise<string[]>
}

/** @param prefix of the ids of its runs, and part of their prompts */
export function startDurableWriter(urls: () => string[], prefix: string): DurableWriter {
  const written: string[] = []
  const texts: string[] = []
  let current: ChildProcess | null = null
  let isOver = false
  let turn = 0

  /** Runs the function once, at one of the API processes; null: its process did not reach the end. */
  async function write(id: string): Promise<string | null> {
    const alive = urls()
    const url = alive[turn++ % alive.length]
    if (url === undefined) return null
    const { NODE_OPTIONS: _options, ...env } = process.env
    const child = spawn(process.execPath, ['examples/typescript/durable.ts', id, `rivers of ${id}`], {
      cwd: root,
      env: { ...env, SLUICE_URL: url, SLUICE_MODEL: 'sim/chat' },
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    current = child
    const exited = once(child, 'close')
    const output = await text(child.stdout)
    const [code] = await exited
    current = null
    return code === 0 ? output : null
  }

  /** Approves the report as soon as its run has a step. The same key is the same signal, however often it is sent. */
  async function approve(id: string): Promise<void> {
    await until(
      async () => {
        const answer = await fetch(`${urls()[0]}/v1/durable/${id}/signals/approval`, {
          method: 'POST',
          headers: { 'content-type': 'application/json', 'idempotency-key': `approve-${id}` },
          body: '{"ok":true}',
        })
        return answer.ok ? true : null
      },
      PATIENCE_MS,
      `the approval of ${id}`,
    )
  }

  async function run(): Promise<void> {
    for (let number = 1; !isOver; number++) {
      const id = `${prefix}${number}`
      const approving = approve(id)
      approving.catch(() => {})
      let report: string | null = null
      while (report === null) {
        report = await write(id)
        if (report === null) await sleep(PAUSE_MS)
      }
      await approving
      written.push(id)
      texts.push(report)
    }
  }

  const running = run()
  running.catch(() => {})
  const writer: DurableWriter = {
    written,
    kills: 0,
    async kill() {
      const victim = await until(() => current, PATIENCE_MS, 'a process that writes')
      victim.kill('SIGKILL')
      writer.kills++
    },
    async conclude() {
      isOver = true
      await running
      const broken: string[] = []
      for (const [at, id] of written.entries()) {
        const group = await get<GroupSummary>(`${urls()[0]}/v1/groups/${id}`)
        if (group?.total !== CALLS || group.counts.completed !== CALLS)
          broken.push(`the durable run ${id} has ${JSON.stringify(group?.counts)}, not ${CALLS} jobs`)
        // Runs it again, from what is stored.
        if ((await write(id)) !== texts[at])
          broken.push(`the durable run ${id} gives another text when it is run again`)
      }
      return broken
    },
  }
  return writer
}
