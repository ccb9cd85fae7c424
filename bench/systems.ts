import { request } from 'undici'
import { tenantRoot } from '../jobs/keys.ts'
import { chatLines, embeddingLines } from './bodies.ts'
import type { Child } from './child.ts'
import type { Stage } from './stage.ts'

/**
 * The systems that are compared. Each has two processes of its own, and shares Redis and the upstream with the
 * others.
 */
export type System = {
  name: SystemName
  title: string
  /** Its own processes by their part. */
  processes: Record<string, Child>
  /** How many upstream calls a job takes. */
  callsPerJob: 0 | 1
  /** Sends `count` jobs, numbered from `first`, and resolves when the last is completed; Unix ms. */
  run(first: number, count: number): Promise<{ startedAt: number; endedAt: number }>
}

export const SystemName = { bare: 'bare', hand: 'hand', sluice: 'sluice' } as const
export type SystemName = (typeof SystemName)[keyof typeof SystemName]

/** How often completion is checked, ms: one command each time, without a measurable effect. */
const POLL_MS = 10

export function listSystems(stage: Stage): System[] {
  return [
    {
      name: 'bare',
      title: 'a. bare BullMQ, no-op jobs',
      processes: stage.bare,
      callsPerJob: 0,
      run: runQueue(stage.bare),
    },
    {
      name: 'hand',
      title: 'b. BullMQ and the openai package, by hand',
      processes: stage.hand,
      callsPerJob: 1,
      run: runQueue(stage.hand),
    },
    {
      name: 'sluice',
      title: 'c. Sluice, POST /v1/jobs/bulk',
      processes: { api: stage.sluice.api, worker: stage.sluice.worker },
      callsPerJob: 1,
      run: (first, count) => runSluice(stage, chatLines(first, count), count),
    },
  ]
}

function runQueue({ producer, worker }: { producer: Child; worker: Child }): System['run'] {
  return async (first, count) => {
    const total = (await worker.ask<number>('done')) + count
    const completed = worker.ask<number>('completed', total)
    const { startedAt } = await producer.ask<{ startedAt: number }>('add', { first, count })
    return { startedAt, endedAt: await completed }
  }
}

/** Embedding jobs, which share provider requests. */
export function runEmbeddings(stage: Stage, first: number, count: number) {
  return runSluice(stage, embeddingLines(first, count), count)
}

async function runSluice(stage: Stage, lines: Buffer, count: number) {
  const counts = () => countEnded(stage)
  const total = (await counts()).completed + count
  const startedAt = Date.now()
  const submitted = request(`${stage.sluice.url}/v1/jobs/bulk`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-ndjson' },
    body: lines,
  }).then(async ({ statusCode, body }) => {
    const answers = (await body.text()).trimEnd().split('\n')
    const bad = answers.find((line) => !line.includes('"id"'))
    if (statusCode !== 200 || answers.length !== count || bad !== undefined)
      throw new Error(
        `Sluice answered ${statusCode} and refused a job: ${bad ?? `${answers.length} answers`}`,
      )
  })
  const completed = (async () => {
    for (;;) {
      const { completed, failed } = await counts()
      if (failed > 0) throw new Error(`${failed} of Sluice's jobs failed`)
      if (completed >= total) return Date.now()
      await new Promise((resolve) => setTimeout(resolve, POLL_MS))
    }
  })()
  const [endedAt] = await Promise.all([completed, submitted])
  return { startedAt, endedAt }
}

async function countEnded({ redis }: Stage): Promise<{ completed: number; failed: number }> {
  const root = tenantRoot('sluice', 'default')
  const [completed, failed] = await Promise.all([
    redis.zcard(`${root}:status:completed`),
    redis.zcard(`${root}:status:failed`),
  ])
  return { completed, failed }
}
