import { describe, expect, it } from 'vitest'
import { webhookPayload } from '../../../webhooks/payload.ts'

const at = '2026-11-23T10:00:00.000Z'
const base = 'https://sluice.example'

/** A result whose JSON has exactly so many bytes: `{"t":"…"}` is 8 bytes around the text. */
function resultOf(bytes: number, letter = 'x') {
  return { t: letter.repeat((bytes - 8) / Buffer.byteLength(letter)) }
}

describe('webhookPayload', () => {
  it('wraps the job with the type and the time of the event', () => {
    const job = { id: 'job_1', status: 'completed', result: { id: 'chatcmpl-1' } }
    expect(JSON.parse(webhookPayload('job.completed', job, at, base))).toEqual({
      type: 'job.completed',
      timestamp: at,
      data: job,
    })
  })

  it('keeps a result of exactly 256 KiB', () => {
    const job = { id: 'job_1', result: resultOf(262_144) }
    expect(JSON.parse(webhookPayload('job.completed', job, at, base)).data).toEqual(job)
  })

  it('leaves out a larger result and says where it is', () => {
    const job = { id: 'job_1', model: 'openai/gpt-5-mini', result: resultOf(262_145) }
    expect(JSON.parse(webhookPayload('job.completed', job, at, base)).data).toEqual({
      id: 'job_1',
      model: 'openai/gpt-5-mini',
      result: null,
      result_omitted: true,
      result_url: 'https://sluice.example/v1/jobs/job_1',
    })
  })

  it('measures bytes, not characters', () => {
    const job = { id: 'job_1', result: resultOf(262_146, 'é') }
    expect(JSON.parse(webhookPayload('job.completed', job, at, base)).data.result_omitted).toBe(true)
  })

  it('says nothing of an omission when there is no result', () => {
    const job = { id: 'job_1', result: null }
    expect(JSON.parse(webhookPayload('job.failed', job, at, base)).data).toEqual(job)
  })
})
