import type { Stage } from './stage.ts'

/** What `kill -9` hits. */
export type Victim = 'worker' | 'api' | 'redis'

export const victims: readonly Victim[] = ['worker', 'api', 'redis']

/** Names in titles. */
export const victimTitles = { worker: 'worker', api: 'API', redis: 'Redis' } as const

/** Kills any one process of the kind, at any step, and starts another in its place. */
export async function strike(stage: Stage, victim: Victim, random: () => number): Promise<void> {
  if (victim === 'redis') return void (await stage.redis.kill())
  const children = victim === 'worker' ? stage.workers : stage.apis
  await stage.end(children[Math.floor(random() * children.length)]!, 'SIGKILL')
  await (victim === 'worker' ? stage.startWorker() : stage.startApi())
}
