import { describe, expect, test } from 'vitest'
import { listLanes, resolveLane, resolveModel } from '../../../config/lanes.ts'
import { matchesModel } from '../../../config/match-model.ts'
import { load } from './load-fixture.ts'

const config = load(`
providers:
  openai:
    kind: openai
    api_key: sk-x
    limits: { requests_per_minute: 500, tokens_per_minute: 200000 }
    retry: { max_attempts: 4, base: 1s }
    models:
      gpt-5-mini: { price: { input: 0.25, output: 2 } }
      embed:
        limits: { requests_per_minute: 3000, window: 1s }
        timeout: 10s
        retry: { base: 2s }
        coalesce: { max_wait: 5ms }
  local:
    kind: openai-compatible
    base_url: http://127.0.0.1:1/v1
    coalesce: { max_inputs: 16 }
    models:
      "*": { limits: { max_concurrency: 2 } }
      meta/llama-3:8b: { coalesce: {} }
routes:
  fast: [openai/gpt-5-mini, local/any]
`)

describe('a lane', () => {
  test("has its provider's settings and its own over them", () => {
    expect(resolveLane(config, 'openai/embed')).toEqual({
      id: 'openai/embed',
      provider: 'openai',
      model: 'embed',
      kind: 'openai',
      onUnsupported: 'refuse',
      limits: {
        requests_per_minute: 3000,
        tokens_per_minute: 200_000,
        max_concurrency: 64,
        window: 1000,
        headroom: 0.99,
      },
      timeout: 10_000,
      retry: { max_attempts: 4, base: 2000, cap: 60_000 },
      price: null, // The catalogue has no such model.
      tiers: {
        flex: { timeout: 900_000, fall_back_after: 600_000 },
        batch: {
          gather: 60_000,
          max_lines: 50_000,
          max_bytes: 200_000_000,
          max_queued_tokens: 3_000_000,
          poll: 30_000,
          leave_before: 7_200_000,
        },
      },
      coalesce: { max_inputs: 2048, max_tokens: 300_000, max_wait: 5 },
    })
  })

  test('is the same object for as long as the configuration is, and another one in the next', () => {
    expect(resolveLane(config, 'local/any')).toBe(resolveLane(config, 'local/any'))
    expect(resolveLane({ ...config }, 'local/any')).not.toBe(resolveLane(config, 'local/any'))
    for (let number = 0; number < 3000; number++) resolveLane(config, `local/model-${number}`)
    expect(resolveLane(config, 'local/any')).toMatchObject({ id: 'local/any', maxLanes: 2500 })
  })

  test('has the slower ways of its kind that are configured, and none that is off', () => {
    const tiersOf = (kind: string, tiers: string) => {
      const text = `
providers: { up: { kind: ${kind}, base_url: "https://up.example", api_key: sk-x, models: { m: { tiers: ${tiers} } } } }`
      const { flex, batch } = resolveLane(load(text), 'up/m')!.tiers!
      return [flex !== null, batch !== null]
    }
    expect(tiersOf('openai', '{}')).toEqual([true, true])
    expect(tiersOf('openai', '{ batch: off }')).toEqual([true, false])
    expect(tiersOf('openai', '{ flex: off, batch: { gather: 1s } }')).toEqual([false, true])
    expect(tiersOf('anthropic', '{}')).toEqual([false, true])
    expect(tiersOf('anthropic', '{ flex: off, batch: off }')).toEqual([false, false])
    expect(tiersOf('openai-compatible', '{}')).toEqual([false, false])
    expect(tiersOf('openai-compatible', '{ batch: {} }')).toEqual([false, true])
    expect(tiersOf('openai-compatible', '{ batch: off }')).toEqual([false, false])
  })

  test('coalesces only where the model or its provider says so', () => {
    expect(resolveLane(config, 'openai/gpt-5-mini')?.coalesce).toBeNull()
    expect(resolveLane(config, 'local/meta/llama-3:8b')?.coalesce).toMatchObject({
      max_inputs: 16,
      max_wait: 20,
    })
  })

  test('accepts a model of any name where its provider lists "*"', () => {
    expect(resolveLane(config, 'local/a/b:c')).toMatchObject({
      id: 'local/a/b:c',
      limits: { max_concurrency: 2 },
    })
    expect(resolveLane(config, 'local/meta/llama-3:8b')?.limits.max_concurrency).toBe(64)
  })

  test.each([
    'gpt-5-mini',
    'openai/gpt-6',
    'other/gpt-5-mini',
    'openai/',
    '/gpt-5-mini',
    'local/*',
    'local/',
    'local/a}b',
    'local/a ',
    'local/ a',
    'local/a\tb',
    `local/${'a'.repeat(201)}`,
    'constructor/x',
    'openai/constructor',
    '__proto__/x',
  ])('%s is not a lane', (name) => {
    expect(resolveLane(config, name)).toBeNull()
  })

  test('is listed if the configuration names it', () => {
    expect(listLanes(config).map((lane) => lane.id)).toEqual([
      'openai/gpt-5-mini',
      'openai/embed',
      'local/meta/llama-3:8b',
    ])
  })
})

describe('a model of a request', () => {
  const idsOf = (model: string) => resolveModel(config, model)?.lanes.map((lane) => lane.id)

  test('is a lane, or an alias with its lanes in order', () => {
    expect(idsOf('openai/embed')).toEqual(['openai/embed'])
    expect(idsOf('fast')).toEqual(['openai/gpt-5-mini', 'local/any'])
  })

  test.each(['slow', 'openai/gpt-6', 'toString', ''])('%j is not a model', (model) => {
    expect(resolveModel(config, model)).toBeNull()
  })
})

describe('shared limits', () => {
  const family = load(`
providers:
  anthropic:
    kind: anthropic
    api_key: sk-x
    limits: { window: 10s, headroom: 0.9 }
    shared_limits:
      opus: { models: ["claude-opus-4-*"], requests_per_minute: 1000, max_concurrency: 5 }
      all: { models: ["*"], tokens_per_minute: 9000, window: 1s }
    models: { claude-opus-4-5: {}, claude-haiku-4-5: {}, "*": {} }
`)

  test('name lanes by patterns, also lanes that only "*" covers', () => {
    const names = (id: string) => resolveLane(family, id)?.shared?.map(({ name }) => name)
    expect(names('anthropic/claude-opus-4-5')).toEqual(['opus', 'all'])
    expect(names('anthropic/claude-opus-4-9')).toEqual(['opus', 'all'])
    expect(names('anthropic/claude-haiku-4-5')).toEqual(['all'])
  })

  test("have the provider's window and headroom by default, and none of its limits", () => {
    expect(resolveLane(family, 'anthropic/claude-opus-4-5')?.shared).toEqual([
      {
        name: 'opus',
        limits: { requests_per_minute: 1000, max_concurrency: 5, window: 10_000, headroom: 0.9 },
      },
      { name: 'all', limits: { tokens_per_minute: 9000, window: 1000, headroom: 0.9 } },
    ])
  })

  test.each([
    ['gpt-5', 'gpt-5', true],
    ['gpt-5', 'gpt-5-mini', false],
    ['gpt-*', 'gpt-', true],
    ['*-mini', 'gpt-5-mini', true],
    ['*-mini', 'mini', false],
    ['a*a', 'a', false],
    ['a*b*c', 'a-b-b-c', true],
    ['a*b*c', 'acb', false],
    ['*', 'a/b:c', true],
    ['a.c', 'abc', false],
  ])('the pattern %s and the model %s: %s', (pattern, model, matches) => {
    expect(matchesModel(pattern, model)).toBe(matches)
  })
})

describe('sources of a model', () => {
  const many = (key = 'sk-b') =>
    resolveLane(
      load(`
providers:
  openai:
    kind: openai
    api_key: sk-x
    limits: { requests_per_minute: 500, max_concurrency: 8 }
    models:
      mini:
        limits: { tokens_per_minute: 1000, headroom: 0.9 }
        sources:
          - { name: main }
          - { name: eu, api_key: ${key}, deployment: mini-eu, limits: { requests_per_minute: 300, window: 1s }, weight: 2 }
`),
      'openai/mini',
    )!

  test('have limits over those of the model and its provider, and the lane has their sum', () => {
    const { limits, sources } = many()
    const common = { tokens_per_minute: 1000, max_concurrency: 8, headroom: 0.9 }
    expect(sources).toMatchObject([
      {
        name: 'main',
        model: 'mini',
        weight: 1,
        limits: { ...common, requests_per_minute: 500, window: 60_000, window_auto: true },
      },
      {
        name: 'eu',
        model: 'mini-eu',
        weight: 2,
        limits: { ...common, requests_per_minute: 300, window: 1000 },
      },
    ])
    expect(limits).toEqual({
      requests_per_minute: 800,
      tokens_per_minute: 2000,
      max_concurrency: 16,
      window: 60_000,
      window_auto: true,
      headroom: 0.9,
    })
  })

  test('carry a mark of their key and address, and not the key', () => {
    const marks = [many(), many(), many('sk-c')].map(({ sources }) => sources!.map(({ mark }) => mark))
    expect(marks[0]).toEqual(marks[1])
    expect(marks[2]![0]).toBe(marks[0]![0])
    expect(marks[2]![1]).not.toBe(marks[0]![1])
    expect(JSON.stringify(many())).not.toContain('sk-')
  })
})
