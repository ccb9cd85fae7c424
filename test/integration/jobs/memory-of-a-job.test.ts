import { readFileSync } from 'node:fs'
import { expect, it, onTestFinished } from 'vitest'
import type { NewJob } from '../../../jobs/new-job.ts'
import { testAtRest, testSealer } from '../../helpers/encryption.ts'
import { keysOf, startTestRedis } from '../../helpers/redis.ts'
import { intent, LANE, newJob, openTestStore, queuedEntries, type TestStore } from '../../helpers/store.ts'

const JOBS = 200

const prose = readFileSync(new URL('../../../docs/reliability.md', import.meta.url), 'utf8').replace(
  /[^ -~]+|["\\]/g,
  ' ',
)
const slice = (number: number, bytes: number) => {
  const at = (number * 7919) % (prose.length - bytes)
  return prose.slice(at, at + bytes)
}

/** A chat whose body has so many bytes. */
function chatOf(number: number, bytes: number): NewJob {
  const body = { model: LANE, messages: [{ role: 'user', content: '' }] }
  body.messages[0]!.content = slice(number, bytes - JSON.stringify(body).length)
  const cost = { tokens: 35, inputTokens: 35, outputTokens: 0, inputs: 1, coalesceKey: null }
  return newJob({
    body,
    requestId: 'req_01a22a5248a177818445b316f3caefae',
    cost: { ...cost, outputCap: null, choices: 1 },
  })
}

/** A chat completion of 1 KB. */
function answerOf(number: number) {
  const usage = { prompt_tokens: 497, completion_tokens: 121, total_tokens: 618 }
  const choice = {
    index: 0,
    message: { role: 'assistant', content: '', refusal: null },
    finish_reason: 'stop',
  }
  const head = {
    id: `chatcmpl-${number}f3a9c`,
    object: 'chat.completion',
    created: 1_790_000_000,
    model: 'chat',
  }
  const answer = { ...head, choices: [choice], usage }
  choice.message.content = slice(number + JOBS, 1024 - JSON.stringify(answer).length)
  return answer
}

/** With keys as an installation names them, without encryption, which adds 40 bytes to each text. */
async function openStore(): Promise<TestStore> {
  const server = await startTestRedis()
  onTestFinished(() => server.close())
  return openTestStore({ place: { url: server.url, prefix: 'sluice' }, atRest: testAtRest(testSealer([])) })
}

/** Bytes of a job in Redis, in all its keys; without the tenant's own stream of events, which is bounded. */
async function bytesOfOne({ redis, root }: TestStore): Promise<number> {
  const keys = (await keysOf(redis, 'sluice:*')).filter((key) => key !== `${root}:events`)
  const sizes = await Promise.all(keys.map((key) => redis.call('MEMORY', 'USAGE', key, 'SAMPLES', '0')))
  return sizes.reduce<number>((sum, size) => sum + Number(size), 0) / JOBS
}

it('a chat of 200 bytes that waits takes at most 2 KB', async () => {
  const store = await openStore()
  await store.jobs.createMany(Array.from({ length: JOBS }, (_, number) => chatOf(number, 200)))
  expect(await queuedEntries(store)).toHaveLength(JOBS)
  expect(await bytesOfOne(store)).toBeLessThan(2048)
})

it('a chat of 2 KB that has its answer of 1 KB takes at most 3.5 KB, with the answer kept', async () => {
  const store = await openStore()
  await store.jobs.createMany(Array.from({ length: JOBS }, (_, number) => chatOf(number, 2048)))
  const usage = { input_tokens: 497, output_tokens: 121, total_tokens: 618 }
  const end = { outcome: 'completed', latency_ms: 812, status: 200, usage, cost_usd: 0.0015 } as const
  for (let done = 0; done < JOBS; ) {
    const held = await store.lane().fetch(50)
    const started = await store.work.start(held, intent)
    await store.work.complete(
      started.map((one, at) => {
        if (one.kind !== 'run') throw new Error(one.kind)
        return { claimed: one.claimed, end, result: answerOf(done + at), usage, costUsd: 0.0015 }
      }),
    )
    for (const one of held) if (!store.lane().claimed(one).placed) await store.lane().acknowledge(one)
    done += held.length
  }
  expect(await keysOf(store.redis, `${store.root}:answer:*`)).toHaveLength(JOBS)
  expect(await bytesOfOne(store)).toBeLessThan(3584)
})
