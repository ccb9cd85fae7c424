import { setTimeout as sleep } from 'node:timers/promises'
import { createRandom } from '../../simulator/random.ts'
import type { Fault, Outcome, Settings } from './fault.ts'
import { judge } from './judge.ts'
import { startLoad } from './load.ts'
import { checkOutRelease } from './older-release.ts'
import { openStage, type Stage } from './stage.ts'

const GROUP = 'rolled-out'
/** Jobs that wait while processes are replaced, besides those that come in the meantime. */
const BACKLOG = 150
const DELAYED = 20
const WORKERS = 2
const APIS = 2

/**
 * A roll-out under load over a store with open jobs: processes of an older release are replaced one after the other,
 * workers first, then put back in reverse, then replaced again with SIGKILL. Meanwhile jobs wait, run, stream and are
 * due later.
 */
export const rollOut: Fault = {
  name: 'roll-out',
  title: 'an older release replaced under load, put back, and replaced again',
  async run(settings: Settings): Promise<Outcome> {
    const random = createRandom(settings.seed)
    const older = checkOutRelease(settings.from)
    try {
      settings.say(`from ${older.commit}`)
      const stage = await openStage({
        apis: APIS,
        workers: WORKERS,
        simulator: ['--latency', '700', '--jitter', '700', '--seed', String(settings.seed)],
        limits: '{ max_concurrency: 12 }',
        stalledAfterMs: settings.stalledAfterMs,
        checkout: older.directory,
      })
      settings.opened(stage)
      const load = startLoad({ urls: stage.urls, random, group: GROUP, perSecond: 6 })
      await load.rush(BACKLOG, 1000)
      for (let one = 0; one < DELAYED; one++) {
        const runAt = new Date(Date.now() + 60_000 * random()).toISOString()
        load.add({ mark: '', members: { run_at: runAt } })
      }
      const pauseMs = settings.quick ? 1500 : 4000
      const odd: string[] = []
      const replace = async (order: ('worker' | 'api')[], signal: 'SIGTERM' | 'SIGKILL', to?: string) => {
        for (const role of order) {
          for (const leaving of role === 'worker' ? [...stage.workers] : [...stage.apis]) {
            await sleep(pauseMs * (0.5 + random()))
            odd.push(...(await replaceOne(stage, role, leaving, signal, to)))
          }
        }
      }
      await replace(['worker', 'api'], 'SIGTERM')
      settings.say('replaced')
      await replace(['api', 'worker'], 'SIGTERM', older.directory)
      settings.say('put back')
      await replace(['worker', 'api'], 'SIGKILL')
      settings.say('replaced again, by SIGKILL')
      await load.stop()
      const { tally, broken } = await judge(stage, load, GROUP, 180_000)
      return {
        tally,
        recoveriesMs: [],
        broken: [...broken, ...odd],
        notes: [`from ${older.commit}: ${3 * (APIS + WORKERS)} processes replaced`],
      }
    } finally {
      older.remove()
    }
  },
}

/** Workers that end hand their calls over; so for a moment there is one more, never one fewer. */
async function replaceOne(
  stage: Stage,
  role: 'worker' | 'api',
  leaving: Stage['apis'][number],
  signal: 'SIGTERM' | 'SIGKILL',
  checkout: string | undefined,
): Promise<string[]> {
  if (role === 'worker') await stage.startWorker(undefined, checkout)
  else await stage.startApi(checkout)
  const { code, signal: by } = await stage.end(leaving, signal)
  return signal === 'SIGKILL' || code === 0 ? [] : [`a ${role} ended with ${code ?? by}`]
}
