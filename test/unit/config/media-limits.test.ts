import { expect, test } from 'vitest'
import { checkReferences } from '../../../config/cross-checks.ts'
import type { LaneLimits } from '../../../config/lanes.ts'
import { countMedia, inputLimitOf, outputLimitOf } from '../../../ratelimit/media-limits.ts'

const faultsOf = (limits: object, model: object = {}, shared: object = {}) =>
  checkReferences({
    providers: { p: { limits, shared_limits: shared, models: { painter: { limits: model } } } },
  }).map(({ message }) => message)

test.each([
  [{ images_per_minute: 5, output_tokens_per_minute: 100 }, {}, {}],
  [{ images_per_minute: 5 }, { output_tokens_per_minute: 100 }, {}],
  [{ images_per_minute: 5 }, {}, { all: { models: ['pa*'], output_tokens_per_minute: 9 } }],
  [{ input_tokens_per_minute: 5 }, { audio_seconds_per_minute: 100 }, {}],
])('a lane cannot count both of %j %j %j', (limits, model, shared) => {
  expect(faultsOf(limits, model, shared)).toEqual([expect.stringMatching(/^expected either .*, not both$/)])
})

test('a lane counts pictures or sound beside everything else', () => {
  expect(faultsOf({ images_per_minute: 5, tokens_per_minute: 100, input_tokens_per_minute: 50 })).toEqual([])
  expect(faultsOf({ audio_seconds_per_minute: 5 }, { output_tokens_per_minute: 100 })).toEqual([])
})

test('the cost of a call is counted as its lane counts', () => {
  const cost = { requests: 1, tokens: 9, inputTokens: 4, outputTokens: 5, images: 2, audioSeconds: 30.2 }
  const base: LaneLimits = { window: 60_000, headroom: 1 }
  const count = (limits: object) => countMedia({ limits: { ...base, ...limits } }, cost)
  expect(count({})).toEqual(cost)
  expect(count({ images_per_minute: 9 })).toMatchObject({ inputTokens: 4, outputTokens: 2 })
  expect(count({ audio_seconds_per_minute: 9 })).toMatchObject({ inputTokens: 30.2, outputTokens: 5 })
  expect(inputLimitOf({ ...base, audio_seconds_per_minute: 9 })).toBe(9)
  expect(outputLimitOf({ ...base, images_per_minute: 7 })).toBe(7)
})
