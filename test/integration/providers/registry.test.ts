import { expect, onTestFinished, test } from 'vitest'
import { createProviders, type ProviderSettings } from '../../../providers/registry.ts'
import { chatBody, openSimulator } from './fixture.ts'

async function openRegistry() {
  const { url, simulator } = await openSimulator({ latencyMs: 50 })
  const settings: ProviderSettings = { kind: 'openai', base_url: url, api_key: 'k', timeout: 5000 }
  const providers = createProviders({ config: { providers: { openai: settings } } })
  onTestFinished(() => providers.close())
  const call = (name: string) =>
    providers.get(name).call({
      type: 'chat',
      model: 'm',
      body: chatBody('x'),
      signal: new AbortController().signal,
      timeoutMs: 5000,
    })
  return { providers, settings, simulator, url, call }
}

test('an adapter is built once and kept while its settings stay', async () => {
  const { providers, settings, call } = await openRegistry()
  const first = providers.get('openai')
  expect(first.name).toBe('openai')
  expect((await call('openai')).ok).toBe(true)
  providers.update({ providers: { openai: { ...settings }, other: settings } })
  expect(providers.get('openai')).toBe(first)
  expect(providers.get('other').name).toBe('other')
})

test('changed settings build a new adapter while calls under way end on the old one', async () => {
  const { providers, settings, call } = await openRegistry()
  const first = providers.get('openai')
  const pending = call('openai')
  providers.update({ providers: { openai: { ...settings, api_key: 'other' } } })
  expect(providers.get('openai')).not.toBe(first)
  expect((await pending).ok).toBe(true)
  expect((await call('openai')).ok).toBe(true)
})

test('a provider that is not configured, or not any more, is refused', async () => {
  const { providers } = await openRegistry()
  expect(() => providers.get('nobody')).toThrow(RangeError)
  expect(() => providers.get('constructor')).toThrow(RangeError)
  providers.get('openai')
  providers.update({ providers: {} })
  expect(() => providers.get('openai')).toThrow(RangeError)
})

test('Gemini is reached through its OpenAI-compatible endpoint', async () => {
  const { providers, settings, simulator, url, call } = await openRegistry()
  const root = url.replace(/\/v1$/, '')
  providers.update({
    providers: { gemini: { ...settings, kind: 'gemini', base_url: `${root}/v1beta/openai` } },
  })
  expect((await call('gemini')).ok).toBe(true)
  expect(simulator.state().by_path).toEqual({ '/v1/chat/completions': { 200: 1 } })
})

test('every setting of a provider that its adapter takes makes a new one when it changes', () => {
  const settings: ProviderSettings = { kind: 'anthropic', base_url: 'http://127.0.0.1:1', timeout: 5000 }
  const providers = createProviders({ config: { providers: { one: settings } } })
  onTestFinished(() => providers.close())
  const changes: Partial<ProviderSettings>[] = [
    { kind: 'openai' },
    { base_url: 'http://127.0.0.1:2' },
    { api_key: 'k' },
    { api_version: '2' },
    { default_max_tokens: 9 },
    { headers: { a: 'b' } },
    { timeout: 1 },
  ]
  for (const change of changes) {
    const before = providers.get('one')
    providers.update({ providers: { one: { ...settings, ...change } } })
    expect(providers.get('one')).not.toBe(before)
    providers.update({ providers: { one: settings } })
  }
})
