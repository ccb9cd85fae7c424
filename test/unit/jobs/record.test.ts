import { describe, expect, it, vi } from 'vitest'
import type { Job } from '../../../jobs/job.ts'
import { parseLargeResult, readResultText, withUnparsedResult } from '../../../jobs/job-result.ts'
import { toEvent, toJob, toRecord } from '../../../jobs/record.ts'
import type { JsonObject } from '../../../lib/json.ts'
import { stringifyJson } from '../../../lib/json-source.ts'
import { testAtRest } from '../../helpers/encryption.ts'

const asIs = {
  root: 'test:{t:acme}',
  atRest: testAtRest(),
  render: (stored: JsonObject, _format: string | null): JsonObject => stored,
}

function flat(fields: Record<string, string>): Buffer[] {
  return Object.entries(fields).flatMap(([name, value]) => [Buffer.from(name), Buffer.from(value)])
}

const queued = {
  type: 'chat',
  model: 'fast',
  lane: 'sim/chat',
  priority: 'normal',
  status: 'queued',
  created_at: '1700000000000',
  max_attempts: '3',
}
const completed = {
  ...queued,
  status: 'completed',
  finished_at: '1700000001500',
  result: '{"answer":42}',
  usage: '{"input_tokens":1,"output_tokens":2,"total_tokens":3}',
  cost_usd: '0.25',
  format: 'float',
}

function job(fields: Record<string, string>): Job {
  return toJob('job_1', toRecord(flat(fields))!, asIs)
}

describe('toRecord', () => {
  it('answers null where there is nothing', () => {
    expect(toRecord([])).toBeNull()
  })

  it('answers null for the remains of a deleted job', () => {
    expect(toRecord(flat({ status: 'cancelled', deleted: '1' }))).toBeNull()
  })
})

describe('toJob', () => {
  it('shows a waiting job with every member of the contract, unknown ones null', () => {
    expect(job(queued)).toEqual({
      id: 'job_1',
      object: 'job',
      type: 'chat',
      status: 'queued',
      model: 'fast',
      lane: 'sim/chat',
      group: null,
      fair_key: null,
      priority: 'normal',
      tier: 'standard',
      served_tier: null,
      metadata: {},
      created_at: '2023-11-14T22:13:20.000Z',
      run_at: null,
      started_at: null,
      finished_at: null,
      deadline: null,
      attempts: 0,
      max_attempts: 3,
      redrives: 0,
      next_attempt_at: null,
      estimated_start_at: null,
      waiting_for: null,
      cache: 'miss',
      result: null,
      usage: null,
      usage_is_estimate: false,
      cost_usd: null,
      dropped_members: [],
      cost_is_estimate: false,
      error: null,
    })
  })

  it('says that a scheduled job waits for its schedule', () => {
    expect(job({ ...queued, status: 'scheduled' }).waiting_for).toBe('schedule')
  })

  it('passes the stored result and its format to the renderer', () => {
    const seen: (string | null)[] = []
    const render = (stored: JsonObject, format: string | null) => {
      seen.push(format)
      return { ...stored, rendered: true }
    }
    const shown = toJob('job_1', toRecord(flat(completed))!, { ...asIs, render })
    expect(shown.result).toEqual({ answer: 42, rendered: true })
    expect(seen).toEqual(['float'])
  })

  it('shows usage, cost and end of a completed job', () => {
    expect(job(completed)).toMatchObject({
      finished_at: '2023-11-14T22:13:21.500Z',
      usage: { input_tokens: 1, output_tokens: 2, total_tokens: 3 },
      usage_is_estimate: false,
      cost_usd: 0.25,
      cost_is_estimate: false,
    })
  })

  it('treats empty fields as missing ones', () => {
    expect(job({ ...completed, usage: '', format: '' }).usage).toBeNull()
  })
})

describe('toEvent', () => {
  const never = () => {
    throw new Error('the job is not needed')
  }

  it('numbers the event, and writes its times as the API does', () => {
    const stored =
      '{"event":"job.retrying","at":1700000000000,"reason":"busy","next_attempt_at":1700000005000}'
    expect(toEvent('job_1', 3, stored, never, asIs)).toEqual({
      cursor: '3',
      event: 'job.retrying',
      data: {
        job_id: 'job_1',
        seq: 3,
        at: '2023-11-14T22:13:20.000Z',
        reason: 'busy',
        next_attempt_at: '2023-11-14T22:13:25.000Z',
      },
    })
  })

  it('carries a chunk of a stream unchanged', () => {
    const stored = '{"event":"job.delta","at":1700000000000,"attempt":1,"chunk":{"a":[1,null]}}'
    expect(toEvent('job_1', 4, stored, never, asIs).data).toMatchObject({
      attempt: 1,
      chunk: { a: [1, null] },
    })
  })

  it('carries the whole job with a terminal event', () => {
    const event = toEvent(
      'job_1',
      5,
      '{"event":"job.completed","at":1700000001500}',
      () => job(completed),
      asIs,
    )
    expect(event.data.job).toEqual(job(completed))
  })

  it('shows a job that was retried since as it ended then', () => {
    const stored =
      '{"event":"job.failed","at":1700000000700,"error":{"code":"broken","message":"m","provider_status":500,"retryable":true}}'
    const event = toEvent('job_1', 5, stored, () => job(completed), asIs)
    expect(event.data.job).toMatchObject({
      status: 'failed',
      finished_at: '2023-11-14T22:13:20.700Z',
      result: null,
      error: { code: 'broken' },
    })
  })
})

describe('readResultText', () => {
  const text = '{ "answer" : 42.0, "big": 12345678901234567890 }'

  it('is what the store has, to the byte, and the result beside it reads the same', () => {
    const { format: _, ...asItRests } = completed
    const one = job({ ...asItRests, result: text })
    expect(readResultText(one)).toBe(text)
    expect(one.result).toEqual(JSON.parse(text))
    expect({ ...one }.result).toBe(one.result)
    expect(JSON.parse(JSON.stringify(one))).toMatchObject({ result: { answer: 42 } })
  })

  it('is null if the result takes another form on its way, or there is none', () => {
    expect(readResultText(job({ ...completed, result: text }))).toBeNull()
    expect(readResultText(job(queued))).toBeNull()
  })

  it('is parsed in pieces if it is large, and is not parsed at all to be written', async () => {
    const { format: _, ...asItRests } = completed
    const big = `{"answer":[${'0.25,'.repeat(300_000)}1]}`
    const one = job({ ...asItRests, result: big })
    const parses = vi.spyOn(JSON, 'parse')
    try {
      expect(stringifyJson(withUnparsedResult(one))).toContain(`"result":${big},`)
      await parseLargeResult(one)
      expect(one.result!.answer).toHaveLength(300_001)
      expect(Math.max(...parses.mock.calls.map(([text]) => text.length))).toBeLessThan(300_000)
    } finally {
      parses.mockRestore()
    }
    expect(withUnparsedResult(one)).toBe(one)
  })

  it('is not part of a copy, which may have another result', () => {
    const { format: _, ...asItRests } = completed
    expect(readResultText({ ...job({ ...asItRests, result: text }), result: null })).toBeNull()
  })
})
