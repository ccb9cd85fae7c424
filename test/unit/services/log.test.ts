import { readFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import fastify, { type FastifyBaseLogger } from 'fastify'
import { request } from 'undici'
import { describe, expect, it } from 'vitest'
import { parseDocument } from 'yaml'
import { z } from 'zod'
import { ConfigError } from '../../../config/load.ts'
import { describeError, writeError } from '../../../lib/describe-error.ts'
import { createLog } from '../../../services/log.ts'

const canary = 'canary-prompt-5f1c9b7e3d2a'
const url = `http://user:${canary}@127.0.0.1:1/hook?token=${canary}`

/** The error that a call throws or rejects with. */
async function thrownBy(call: () => unknown): Promise<unknown> {
  try {
    await call()
  } catch (error) {
    return error
  }
  throw new Error('nothing was thrown')
}

function redisError(message: string): Error {
  return Object.assign(new Error(message), {
    name: 'ReplyError',
    command: { name: 'evalsha', args: [canary, Buffer.from(canary), { url, password: canary }] },
  })
}

const stackOfAPrompt = `it fails\n    at ${canary} (/app/prompt.js:1:2)\n    at run (${canary}:3:4)`

const kinds: Record<string, () => unknown> = {
  'a Redis error with its command': () =>
    redisError("OOM command not allowed when used memory > 'maxmemory'."),
  'a command that Redis does not know': () =>
    redisError(`ERR unknown command 'AUTH', with args beginning with: '${canary}' 'it's ${canary}'`),
  'a Lua error that repeats an argument': () =>
    redisError(`ERR Error running script (call to f_0123): @user_script:9: cannot use "${canary}"`),
  'a transaction': () =>
    Object.assign(redisError('EXECABORT Transaction discarded'), {
      previousErrors: [redisError(`ERR '${canary}'`)],
    }),
  'a node of a cluster': () => Object.assign(new Error('none'), { lastNodeError: redisError('READONLY no') }),
  'JSON that does not parse': () => thrownBy(() => JSON.parse(`{"a": "${canary}", it's "quo"ted`)),
  'short JSON that does not parse': () => thrownBy(() => JSON.parse(canary)),
  'a URL that is none': () => thrownBy(() => new URL(`//${url}`)),
  'a fetch of a URL that is none': () => thrownBy(() => fetch(`http://${canary}:${canary}@[x`)),
  'a fetch with credentials in the URL': () => thrownBy(() => fetch(url)),
  'undici, refused': () => thrownBy(() => request(url, { headers: { authorization: canary } })),
  'a header that is none': () =>
    thrownBy(() => request('http://127.0.0.1:1', { headers: { a: `${canary}\n` } })),
  'zod, with the input': () =>
    thrownBy(() =>
      z.strictObject({ a: z.enum(['x']) }).parse({ a: canary, [canary]: 1 }, { reportInput: true }),
    ),
  'YAML with its source': () => parseDocument(`a: "${canary}\nb: [`).errors[0],
  'a file': () => thrownBy(() => readFileSync(`/nowhere/${'x'.repeat(5)}`)),
  'a cause': () =>
    new Error('outer', { cause: new Error(`inner "${canary}"`, { cause: redisError('NOPERM') }) }),
  many: () => new AggregateError([redisError(`WRONGPASS '${canary}'`), new Error(url)], 'all failed'),
  'members of every kind': () =>
    Object.assign(new Error('failed'), {
      body: canary,
      code: `${canary} code`,
      input: { prompt: canary },
      rawPacket: Buffer.from(canary),
      config: { headers: { authorization: canary } },
      syscall: `${canary} call`,
      [Symbol('body')]: canary,
    }),
  'a name that says too much': () => Object.assign(new Error('failed'), { name: `Error ${canary}` }),
  'a message of many lines': () => new Error(`failed\n${canary}`),
  'a message with a stack in it': () => new Error(stackOfAPrompt),
  'a message put in later': () => Object.assign(new Error(stackOfAPrompt), { message: 'changed' }),
  'a member that throws': () =>
    Object.defineProperty(new Error('failed'), 'cause', {
      get() {
        throw new Error(canary)
      },
    }),
  'an object': () => ({ err: { message: canary, stack: canary, prompt: canary } }).err,
  nothing: () => undefined,
}

describe('of an error', () => {
  it.each(Object.entries(kinds))('nothing private is shown: %s', async (_kind, make) => {
    const error = await make()
    const shown = [JSON.stringify(describeError(error)), writeError(error)]
    const log: string[] = []
    const logger = createLog('trace', { write: (line: string) => log.push(line) })
    logger.error({ err: error })
    logger.error({ err: error }, 'with a text')
    if (error instanceof Error) {
      logger.error({ reason: error }, 'under another name')
      logger.child({ request_id: '1' }).error(error)
    }
    // As the framework takes over a log.
    const app = fastify({ loggerInstance: logger as FastifyBaseLogger })
    app.log.warn({ err: error }, 'through the framework')
    for (const text of [...shown, ...log]) {
      expect(text).not.toContain(canary)
      expect(text).not.toContain([...Buffer.from(canary)].join(','))
      expect(text).not.toContain('canary')
    }
  })

  it('what helps is shown: its class, its code, the command, the address, and the place', async () => {
    const failed = describeError(redisError('READONLY You can not write against a read only replica.'))
    expect(failed).toMatchObject({
      type: 'ReplyError',
      message: 'READONLY You can not write against a read only replica.',
      command: 'evalsha',
    })
    expect(failed.stack).toMatch(/^ {4}at redisError \(.*log\.test\.ts:\d+:\d+\)/)
    const server = createServer().listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    const { port } = server.address() as AddressInfo
    await new Promise((resolve) => server.close(resolve))
    const refused = describeError(await thrownBy(() => request(`http://127.0.0.1:${port}`)))
    expect(refused).toMatchObject({ code: 'ECONNREFUSED', syscall: 'connect', address: '127.0.0.1', port })
    const missing = describeError(await thrownBy(() => readFileSync('/nowhere/at/all')))
    expect(missing).toMatchObject({ code: 'ENOENT', syscall: 'open', path: '/nowhere/at/all' })
    expect(describeError(new TypeError("Cannot read properties of undefined (reading 'x')")).message).toBe(
      'Cannot read properties of undefined (reading …)',
    )
  })

  it('faults of the configuration are shown as they were written', () => {
    const error = new ConfigError(['routes.fast[0]: no such lane, got "openai/gpt-9" (sluice.yaml:9)'])
    expect(describeError(error).message).toBe(error.message)
  })
})
