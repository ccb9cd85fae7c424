import { expect, it } from 'vitest'
import { JobStatus } from '../../../jobs/job.ts'
import { type JobRecord, toJob } from '../../../jobs/record.ts'
import { RESULT_FIELDS } from '../../../jobs/results.ts'
import { SUMMARY_FIELDS } from '../../../jobs/summary.ts'
import { testAtRest } from '../../helpers/encryption.ts'

/** A record that notes which of its fields are read. */
class NotingRecord extends Map<string, Buffer> implements JobRecord {
  readonly asked = new Set<string>()
  override get(name: string): Buffer | undefined {
    this.asked.add(name)
    return super.get(name)
  }
}

it.each(Object.values(JobStatus))(
  'a summary has every field that a %s job is made of, but those of its result',
  (status) => {
    const atRest = testAtRest()
    const members = { status, type: 'chat', lane: 'sim/chat', created_at: '1', hash: 'h', dropped: '{}' }
    const record = new NotingRecord(
      Object.entries(members).map(([name, value]) => [name, Buffer.from(value)] as const),
    )
    record.set('result', Buffer.from(atRest.sealResult('root', 'job_1', 'h', { answer: 42 })))
    toJob('job_1', record, { root: 'root', atRest, render: (stored) => stored })
    const known = new Set([...SUMMARY_FIELDS, ...RESULT_FIELDS])
    expect(record.asked.size).toBeGreaterThan(20)
    expect([...record.asked].filter((name) => !known.has(name))).toEqual([])
    for (const name of ['body', 'result']) expect(SUMMARY_FIELDS).not.toContain(name)
  },
)
