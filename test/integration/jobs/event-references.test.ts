import { expect, it, onTestFinished } from 'vitest'
import { ALONE, createScripts } from '../../../jobs/scripts.ts'
import { deltasKey, referencesChannel, referencesKey } from '../../../lib/event-references.ts'
import { closeRedis, createRedis } from '../../../lib/redis.ts'
import { complete, openTestStore, submit, type TestStore } from '../../helpers/store.ts'

/** How many entries the scripts of a run add to streams, and how many hints followers get. */
async function openCounter(store: TestStore) {
  const { redis, root } = store
  const subscriber = createRedis({ ...store, role: 'subscriber', name: 'test' })
  onTestFinished(() => closeRedis(subscriber))
  let hints = 0
  let marked = Promise.withResolvers<void>()
  subscriber.on('message', (_, message: string) => {
    if (message === 'mark') marked.resolve()
    else hints++
  })
  await subscriber.subscribe(referencesChannel(root))
  const added = async () => (await redis.xlen(referencesKey(root))) + (await redis.xlen(deltasKey(root)))
  return async (run: () => Promise<unknown>) => {
    const before = [await added(), hints]
    await run()
    marked = Promise.withResolvers()
    await redis.publish(referencesChannel(root), 'mark')
    await marked.promise
    return { added: (await added()) - before[0]!, hints: hints - before[1]! }
  }
}

it('a transition adds one entry, and a hint only when somebody follows it', async () => {
  const store = await openTestStore()
  const count = await openCounter(store)
  expect(await count(() => submit(store))).toEqual({ added: 1, hints: 0 })
  const running = await store.start()
  const chunks = [{ a: 1 }, { b: 2 }, { c: 3 }]
  expect(await count(() => store.work.stream(running.claimed, chunks))).toEqual({ added: 1, hints: 0 })
  expect(await count(() => complete(store, running))).toEqual({ added: 1, hints: 0 })
  // Its answer is kept, so this one ends in the step that creates it.
  expect(await count(() => submit(store))).toEqual({ added: 1, hints: 0 })

  for (const [following, deltaHints] of [
    ['events', 0],
    ['deltas', 1],
  ] as const) {
    await submit(store, {}, following)
    const { claimed } = await store.start()
    const scripts = createScripts(store.redis, { ...ALONE, following: () => following })
    const delta = [claimed.id, 1, ',"attempt":1,"chunk":{}']
    expect(await count(() => scripts.run('delta', store.root, delta))).toEqual({
      added: 1,
      hints: deltaHints,
    })
    expect(await count(() => scripts.run('cancel', store.root, [claimed.id, 1000]))).toEqual({
      added: 1,
      hints: 1,
    })
  }
})

it('events of one step share entries, at most ten', async () => {
  const store = await openTestStore()
  for (let at = 0; at < 24; at++) await submit(store)
  await complete(store, await store.start())
  const entries = await store.redis.xrange(referencesKey(store.root), '-', '+')
  expect(entries.map(([, fields]) => fields.length / 2)).toEqual([...Array(25).fill(1), 10, 10, 4])
})
