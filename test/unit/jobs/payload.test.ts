import { createHash } from 'node:crypto'
import { zstdCompressSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ANSWER_DICTIONARY } from '../../../jobs/answer-dictionary.ts'
import { decodePayload, decodePayloadText, encodeBody, encodeResult } from '../../../jobs/payload.ts'
import type { JsonObject } from '../../../lib/json.ts'

const completion = (content: string) => ({
  id: 'chatcmpl-7f3a9c',
  object: 'chat.completion',
  created: 1_790_000_000,
  model: 'gpt-5-mini',
  choices: [
    {
      index: 0,
      message: { role: 'assistant', content, refusal: null },
      logprobs: null,
      finish_reason: 'stop',
    },
  ],
  usage: { prompt_tokens: 497, completion_tokens: 142, total_tokens: 639 },
})
const prose =
  'A lane is shut for every tenant while its provider asks for a wait, and each of them has its turn once it opens. '

describe.each([
  ['a body', encodeBody],
  ['a result', encodeResult],
])('%s at rest', (_name, encode) => {
  it('comes back as it went in', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.nat(2), (value, times) => {
        // What JSON itself changes (-0) is not the task of the encoding.
        const given = {
          value: JSON.parse(JSON.stringify(value)),
          text: prose.repeat(6 * times),
        } as JsonObject
        expect(decodePayload(Buffer.from(encode(given)))).toEqual(given)
      }),
    )
  })

  it('is its JSON while it is small, as a text', () => {
    expect(encode({ a: 'ö' })).toBe('{"a":"ö"}')
    expect(encode({ a: 'ö'.repeat(1100) })).toBeInstanceOf(Buffer)
  })

  it('is the same bytes whether Redis is sent a text or a buffer', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string({ unit: 'binary' }), fc.jsonValue()), (value) => {
        const given = JSON.parse(JSON.stringify(value)) as JsonObject
        expect(decodePayloadText(Buffer.from(encode(given)))).toBe(
          Buffer.from(JSON.stringify(given)).toString(),
        )
      }),
    )
  })

  it('takes less room when it is large, and comes back whole', () => {
    const large = { text: 'So it goes. '.repeat(10_000) }
    const stored = encode(large) as Buffer
    expect(stored.length).toBeLessThan(2_000)
    expect(decodePayload(stored)).toEqual(large)
  })

  it('is read if an earlier version wrote it', () => {
    const text = JSON.stringify(completion(prose.repeat(20)))
    expect(decodePayloadText(zstdCompressSync(text))).toBe(text)
    expect(decodePayloadText(Buffer.from(text))).toBe(text)
  })
})

describe('an answer of a kilobyte', () => {
  it('rests in less than half of that', () => {
    const answer = completion(Array.from({ length: 90 }, (_, at) => `word${(at * 104_729) % 9973}`).join(' '))
    expect(JSON.stringify(answer).length).toBeGreaterThan(1024)
    expect(encodeResult(answer).length).toBeLessThan(500)
  })

  it('refers to a dictionary that never changes: otherwise stored answers could not be read any more', () => {
    expect(createHash('sha256').update(ANSWER_DICTIONARY).digest('hex')).toBe(
      '873a4a315a49dc97f2c9643f1114fb4537e51020eba92cebcd6d0943a916bcdd',
    )
  })
})
