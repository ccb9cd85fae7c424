import { expect, it } from 'vitest'
import { createProviderState } from '../../../jobs/provider-state.ts'
import { complete, openTestStore, submit, TENANT } from '../../helpers/store.ts'

it('a completion that its provider was asked to store is known by its id when the job ends, and no other is', async () => {
  const store = await openTestStore()
  const state = createProviderState({ redis: store.redis, root: () => store.root })
  const body = (content: string, members: object) => ({
    model: 'openai/small',
    messages: [{ role: 'user', content }],
    ...members,
  })
  for (const [id, members] of [
    ['chatcmpl-stored', { store: true }],
    ['chatcmpl-not', {}],
    ['../odd', { store: true }],
  ] as const) {
    const { lane } = await submit(store, { body: body(id, members) })
    const running = await store.start()
    await complete(store, running, { id, object: 'chat.completion' })
    expect(await state.find(TENANT, id)).toBe(id === 'chatcmpl-stored' ? lane.split('/')[0] : null)
  }
})
