import { ReplyError } from 'ioredis'
import { describe, expect, test } from 'vitest'
import { isRedisUnavailable, readReconnectDelay } from '../../../lib/redis.ts'

describe('isRedisUnavailable', () => {
  test.each([
    'LOADING Redis is loading the dataset in memory',
    "OOM command not allowed when used memory > 'maxmemory'. script: f1, on @user_script:1.",
    "ERR Error running script (call to f_9b): @user_script:1: -OOM command not allowed when used memory > 'maxmemory'.",
    "READONLY You can't write against a read only replica.",
    'MISCONF Redis is configured to save RDB snapshots, but it is currently unable to persist on disk.',
    'BUSY Redis is busy running a script.',
    'CLUSTERDOWN Hash slot not served',
    'TRYAGAIN Multiple keys request during rehashing of slot',
    'MOVED 9557 127.0.0.1:7002',
    'ASK 9557 127.0.0.1:7002',
    'ERR Script attempted to access a non local key in a cluster node script: 0ed5, on @user_script:1.',
    'NOREPLICAS Not enough good replicas to write.',
    'ERR max number of clients reached',
  ])('treats the reply "%s" as a Redis that cannot answer now', (message) => {
    expect(isRedisUnavailable(new ReplyError(message))).toBe(true)
  })

  test.each([
    "ERR wrong number of arguments for 'get' command",
    'WRONGTYPE Operation against a key holding the wrong kind of value',
    'ERR user_script:3: OOM is a word of the script',
    'NOSCRIPT No matching script.',
    'LOADINGS',
  ])('treats the reply "%s" as a fault of the command', (message) => {
    expect(isRedisUnavailable(new ReplyError(message))).toBe(false)
  })

  test('knows the errors of sockets by their code', () => {
    expect(isRedisUnavailable(Object.assign(new Error('connect'), { code: 'ECONNREFUSED' }))).toBe(true)
    expect(isRedisUnavailable(Object.assign(new Error('bad'), { code: 'ERR_INVALID_ARG_TYPE' }))).toBe(false)
  })

  test('does not treat an aborted signal as an absent Redis', () => {
    expect(isRedisUnavailable(AbortSignal.abort().reason)).toBe(false)
  })

  test('looks into causes, aggregates and refused transactions', () => {
    const loading = new ReplyError('LOADING Redis is loading the dataset in memory')
    const refuse = () => new ReplyError('EXECABORT Transaction discarded because of previous errors.')
    expect(isRedisUnavailable(new Error('create failed', { cause: loading }))).toBe(true)
    expect(isRedisUnavailable(new AggregateError([new Error('other'), loading]))).toBe(true)
    expect(isRedisUnavailable(Object.assign(refuse(), { previousErrors: [loading] }))).toBe(true)
    expect(isRedisUnavailable(refuse())).toBe(false)
  })

  test('is false for a value that is not an error', () => {
    for (const value of [null, undefined, 'LOADING', { message: 'LOADING' }]) {
      expect(isRedisUnavailable(value)).toBe(false)
    }
  })
})

test('reconnecting backs off from 50 ms to half a second and never stops', () => {
  expect([1, 2, 3, 4, 5, 6, 1_000, 5_000].map(readReconnectDelay)).toEqual([
    50, 100, 200, 400, 500, 500, 500, 500,
  ])
})
