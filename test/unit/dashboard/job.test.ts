import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { readChunkText, readResultText } from '../../../dashboard/src/answer-text.ts'
import { splitJson } from '../../../dashboard/src/json-tokens.ts'
import { buildTimeline } from '../../../dashboard/src/timeline.ts'
import type { Attempt, Job } from '../../../dashboard/src/wire.ts'

const created = Date.UTC(2026, 10, 24)
const at = (ms: number) => new Date(created + ms).toISOString()

function makeJob(given: Partial<Job>): Job {
  return { created_at: at(0), finished_at: null, status: 'running', ...given } as Job
}

function makeAttempt(
  attempt: number,
  startedMs: number,
  latency: number | null,
  outcome = 'completed',
): Attempt {
  return { attempt, started_at: at(startedMs), latency_ms: latency, outcome } as Attempt
}

describe('the timeline', () => {
  test('shows waits and calls side by side, from creation to end', () => {
    const attempts = [makeAttempt(1, 200, 300, 'retryable'), makeAttempt(2, 700, 300)]
    const { rows, waiting } = buildTimeline(
      makeJob({ status: 'completed', finished_at: at(1_000) }),
      attempts,
      created + 99_000,
    )
    expect(
      rows.map(({ waited, called }) => [waited.start, waited.length, called.start, called.length]),
    ).toEqual([
      [0, 0.2, 0.2, 0.3],
      [0.5, 0.2, 0.7, 0.3],
    ])
    expect(waiting).toBeNull()
  })

  test('lets a running call and an open wait grow up to now', () => {
    const running = buildTimeline(makeJob({}), [makeAttempt(1, 500, null, 'running')], created + 1_000)
    expect(running.rows[0]!.called).toMatchObject({ start: 0.5, length: 0.5 })
    const waiting = buildTimeline(
      makeJob({ status: 'queued' }),
      [makeAttempt(1, 0, 250, 'throttled')],
      created + 1_000,
    )
    expect(waiting.waiting).toMatchObject({ start: 0.25, length: 0.75 })
  })

  test('gives a lost call no length, because nobody knows it', () => {
    const { rows } = buildTimeline(makeJob({}), [makeAttempt(1, 100, null, 'lost')], created + 1_000)
    expect(rows[0]!.called.length).toBe(0)
  })

  test('stays within its bounds when clocks differ', () => {
    const { rows } = buildTimeline(makeJob({}), [makeAttempt(1, -500, 100)], created - 2_000)
    for (const { waited, called } of rows) {
      for (const { start, length } of [waited, called]) {
        expect(start).toBeGreaterThanOrEqual(0)
        expect(start + length).toBeLessThanOrEqual(1)
      }
    }
  })
})

describe('the text of an answer', () => {
  test('is read from pieces of chats and of responses', () => {
    expect(readChunkText({ choices: [{ delta: { content: 'Hel' } }] })).toBe('Hel')
    expect(readChunkText({ type: 'response.output_text.delta', delta: 'lo' })).toBe('lo')
    expect(readChunkText({ choices: [{ delta: { role: 'assistant' } }] })).toBe('')
  })

  test('is read from whole chats and responses', () => {
    expect(readResultText({ choices: [{ message: { content: 'Hello' } }] })).toBe('Hello')
    expect(readResultText({ output: [{ content: [{ type: 'output_text', text: 'Hello' }] }] })).toBe('Hello')
    expect(readResultText({ data: [{ embedding: [1, 2] }] })).toBeNull()
  })

  test('is empty in every other case', () => {
    fc.assert(
      fc.property(fc.anything(), (value) => {
        expect(readChunkText(value)).toBeTypeOf('string')
        const text = readResultText(value)
        expect(text === null || typeof text === 'string').toBe(true)
      }),
    )
  })
})

describe('splitJson', () => {
  test('distinguishes names from texts, numbers and words', () => {
    const kinds = splitJson('{"a": ["b", -1.5e3, true, null]}').filter(({ kind }) => kind !== 'mark')
    expect(kinds).toEqual([
      { kind: 'name', text: '"a"' },
      { kind: 'text', text: '"b"' },
      { kind: 'number', text: '-1.5e3' },
      { kind: 'word', text: 'true' },
      { kind: 'word', text: 'null' },
    ])
  })

  test('loses nothing of any JSON', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const text = JSON.stringify(value, null, 2)
        expect(
          splitJson(text)
            .map((token) => token.text)
            .join(''),
        ).toBe(text)
      }),
    )
  })

  test('loses nothing of JSON that is cut off', () => {
    const text = '{"a": "b\\'
    expect(
      splitJson(text)
        .map((token) => token.text)
        .join(''),
    ).toBe(text)
  })
})
