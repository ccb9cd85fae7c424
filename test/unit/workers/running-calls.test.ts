import { describe, expect, it } from 'vitest'
import { createRunningCalls } from '../../../workers/running-calls.ts'

const a = { tenant: 'acme', id: 'job_a' }
const b = { tenant: 'acme', id: 'job_b' }

describe('running calls', () => {
  it('aborts the call of a cancelled job', () => {
    const calls = createRunningCalls()
    const { signal } = calls.begin([a])
    calls.cancel('acme', 'job_a')
    expect(signal.aborted).toBe(true)
    expect(signal.reason).toBe('cancelled')
  })

  it('goes on with a shared request until the last of its jobs is cancelled', () => {
    const calls = createRunningCalls()
    const { signal } = calls.begin([a, b])
    calls.cancel('acme', 'job_a')
    calls.cancel('acme', 'job_a')
    expect(signal.aborted).toBe(false)
    calls.cancel('acme', 'job_b')
    expect(signal.aborted).toBe(true)
  })

  it('leaves the jobs of other tenants alone, and those that are not here', () => {
    const calls = createRunningCalls()
    const { signal } = calls.begin([a])
    calls.cancel('other', 'job_a')
    calls.cancel('acme', 'job_z')
    expect(signal.aborted).toBe(false)
  })

  it('drops a call that ended', () => {
    const calls = createRunningCalls()
    const call = calls.begin([a])
    call.end()
    calls.cancel('acme', 'job_a')
    expect(call.signal.aborted).toBe(false)
    expect(calls.size).toBe(0)
  })

  it('knows the newer of two calls of one job, in either order of their ends', () => {
    const calls = createRunningCalls()
    const older = calls.begin([a])
    const newer = calls.begin([a])
    older.end()
    calls.cancel('acme', 'job_a')
    expect(newer.signal.aborted).toBe(true)
  })

  it('aborts everything when the process has to go, and says why', () => {
    const calls = createRunningCalls()
    const signals = [calls.begin([a]).signal, calls.begin([b]).signal]
    calls.abortAll()
    expect(signals.map((signal) => signal.reason)).toEqual(['shutdown', 'shutdown'])
  })
})
