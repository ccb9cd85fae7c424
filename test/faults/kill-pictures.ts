import { readdir } from 'node:fs/promises'
import { loadScript } from '../../lib/lua-script.ts'
import { closeRedis, createRedis, type RedisClient } from '../../lib/redis.ts'
import { hashPrompt } from '../../simulator/answers.ts'
import { createRandom } from '../../simulator/random.ts'
import { keysOf } from '../helpers/redis.ts'
import { getJob, mapGently } from './client.ts'
import type { Fault, Outcome, Settings } from './fault.ts'
import { judge } from './judge.ts'
import { deliver, type Sent } from './load.ts'
import { openStage, type Stage, type Worker } from './stage.ts'
import { until, within } from './wait.ts'

const GROUP = 'pictures'
/** Workers side by side, each with a lane of its own, so that a kill meets no other call. */
const WORKERS = 3
const STALLED_AFTER_MS = 3000
const CAUGHT_MS = 30_000
const ENDED_MS = 60_000
/** The maintainer looks at files once a minute. */
const SWEPT_MS = 150_000

const script = (name: string) => loadScript(new URL(`../../files/lua/${name}.lua`, import.meta.url))
const announce = script('announce')
const seal = script('seal')

/** Where a worker dies between a picture and the end of its job; each resolves once the worker is there. */
const MOMENTS: { name: string; reach: (worker: Worker) => Promise<void> }[] = [
  { name: 'before the object is announced', reach: ({ tap }) => tap!.catchScript(announce, 'before') },
  { name: 'when the object is announced', reach: ({ tap }) => tap!.catchScript(announce, 'after') },
  { name: 'when the object is written', reach: ({ tap }) => tap!.catchScript(seal, 'before') },
  { name: 'when the file is sealed', reach: ({ tap }) => tap!.catchScript(seal, 'after') },
  { name: 'before the job has its file', reach: ({ tap }) => tap!.catchResult('before') },
  { name: 'when the job has its file', reach: ({ tap }) => tap!.catchResult('after') },
]

/** Workers that die between a picture and the end of its job. */
export const killPictures: Fault = {
  name: 'worker-kill-pictures',
  title: 'worker kill -9 between a picture in the folder of files and the end of its job',
  async run(settings: Settings): Promise<Outcome> {
    const kills = settings.quick ? 12 : 60
    const random = createRandom(settings.seed)
    const models = Array.from({ length: WORKERS }, (_, index) => `painter-${index}`)
    const stage = await openStage({
      workers: 0,
      models,
      tapped: true,
      keepsFilesInFolder: true,
      simulator: ['--latency', '20', '--seed', String(settings.seed)],
      stalledAfterMs: STALLED_AFTER_MS,
    })
    settings.opened(stage)
    const load = { sent: [] as Sent[], answers: new Map<number, number>(), slowestMs: 0 }

    let begun = 0
    async function killOnce(model: string, number: number, before: Sent | null): Promise<Sent> {
      const moment = MOMENTS[number % MOMENTS.length]!
      const worker = await stage.startWorker([model])
      // The work of the worker before it is finished first: a job that is lost three times would be set aside.
      if (before !== null)
        await until(() => hasEnded(stage, before), ENDED_MS, 'the end of a job that a dead worker left')
      const reached = moment.reach(worker)
      const job = composePicture(number, model)
      load.sent.push(job)
      await deliver(job, { urls: stage.urls, random }, load)
      await within(reached, CAUGHT_MS, `coming to the moment ${moment.name}`)
      await stage.end(worker, 'SIGKILL')
      if (load.sent.length % 10 === 0) settings.say(`${load.sent.length} of ${kills} killed`)
      return job
    }

    await Promise.all(
      models.map(async (model) => {
        let last: Sent | null = null
        for (let number = begun++; number < kills; number = begun++)
          last = await killOnce(model, number, last)
      }),
    )
    // It finishes their work.
    await stage.startWorker()
    const { tally, broken } = await judge(stage, load, GROUP, 60_000)
    const failed = [...tally.failed.values()].reduce((sum, count) => sum + count, 0)
    if (failed > 0) broken.push(`${failed} jobs failed`)
    broken.push(...(await checkPictures(stage, load.sent)))
    broken.push(...(await checkOrphans(stage, load.sent.length)))
    return {
      tally,
      recoveriesMs: [],
      broken,
      notes: [`${load.sent.length} kills at ${MOMENTS.length} moments`],
    }
  },
}

async function hasEnded(stage: Stage, { id }: Sent): Promise<true | null> {
  const job = await getJob(stage.urls()[0]!, id!)
  return job !== null && job.finished_at !== null ? true : null
}

/** A job for a picture unlike any other. */
function composePicture(number: number, model: string): Sent {
  const body = { model: `sim/${model}`, prompt: `${GROUP} ${number}` }
  const cache = number % 2 === 0 ? 'off' : 'use'
  return {
    key: `${GROUP}-${number}`,
    body: JSON.stringify({ type: 'image', group: GROUP, cache, body }),
    hash: hashPrompt('image', model, body),
    mark: '',
    id: null,
  }
}

/** Reports jobs without the picture of their prompt, as the simulator draws it again. */
async function checkPictures(stage: Stage, sent: readonly Sent[]): Promise<string[]> {
  const api = stage.urls()[0]!
  const right = await mapGently(sent, async ({ id, body }) => {
    const job = await getJob(api, id!)
    const [entry] = (job?.result?.data ?? []) as { file_id: string; bytes: number }[]
    if (entry === undefined) return false
    const content = await fetch(`${api}/v1/files/${entry.file_id}/content`)
    if (!content.ok) return false
    const asked = (JSON.parse(body) as { body: { model: string; prompt: string } }).body
    const painted = await fetch(`${stage.simulator.url}/v1/images/generations`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: 'Bearer a-key-for-faults' },
      body: JSON.stringify({ ...asked, model: asked.model.replace('sim/', '') }),
    })
    const { data } = (await painted.json()) as { data: { b64_json: string }[] }
    return Buffer.from(await content.arrayBuffer()).equals(Buffer.from(data[0]!.b64_json, 'base64'))
  })
  const wrong = right.filter((is) => !is).length
  return wrong === 0 ? [] : [`${wrong} jobs do not have their picture`]
}

/**
 * Lets a day pass for objects that no job holds, waits for the maintainer, and reports what is left besides one
 * object a job.
 */
async function checkOrphans(stage: Stage, jobs: number): Promise<string[]> {
  const redis = createRedis({ url: stage.redis.url, role: 'commands', name: 'faults' })
  try {
    const keys = await listOpenKeys(redis)
    for (const key of keys) {
      const members = await redis.zrange(key, '0', '-1')
      for (const member of members) await redis.zadd(key, 'XX', 1, member)
    }
    const isSwept = async () => ((await listOpenKeys(redis)).length === 0 ? true : null)
    const broken: string[] = []
    await until(isSwept, SWEPT_MS, 'the pass of the maintainer over files').catch((error: Error) =>
      broken.push(error.message),
    )
    const names = await listFiles(stage.filesFolder)
    const halves = names.filter((name) => name.endsWith('.half')).length
    if (halves > 0) broken.push(`${halves} halves of objects are left`)
    if (names.length !== jobs) broken.push(`${jobs} jobs have ${names.length} objects`)
    return broken
  } finally {
    await closeRedis(redis)
  }
}

/** Sets of files that no job holds, and of objects that no file has, if they are not empty. */
async function listOpenKeys(redis: RedisClient): Promise<string[]> {
  const found: string[] = []
  for (const set of ['unheld', 'writing', 'deleting']) found.push(...(await keysOf(redis, `*:files:${set}`)))
  return found
}

async function listFiles(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  return entries.filter((entry) => entry.isFile()).map(({ name }) => name)
}
