import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { Webhook } from 'standardwebhooks'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startBreakingProxy } from '../helpers/breaking-proxy.ts'
import { startProcess } from '../helpers/processes.ts'
import { findPython, joinPaths, PYTHON_CLIENT } from '../helpers/python.ts'
import { RUN_VARIABLE } from '../helpers/run-processes.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const isInstalled = (command: string) => spawnSync(command, ['--version']).status === 0

let folder = ''
let url = ''
let stop = async () => {}

/** What `npm start` runs in a folder without a configuration. */
beforeAll(async () => {
  folder = await mkdtemp(join(process.env[RUN_VARIABLE] ?? tmpdir(), 'examples-'))
  const service = await startProcess({
    args: [join(root, 'main.ts'), 'all', '--port', '0'],
    cwd: folder,
    ready: /"url":"(http:[^"]+)","msg":"ready"/,
  })
  url = service.match[1]!
  stop = async () => {
    service.kill()
    expect(await service.exited).toEqual({ code: 0, signal: null })
  }
})
afterAll(async () => {
  await stop()
  await rm(folder, { recursive: true, force: true })
})

const run = (command: string, ...args: string[]) => runAt(url, command, ...args)

/** Runs a program for the service at this address. */
async function runAt(address: string, command: string, ...args: string[]) {
  const child = spawn(command, args, {
    cwd: root,
    env: {
      ...process.env,
      NODE_OPTIONS: '',
      SLUICE_KEY: undefined,
      SLUICE_MODEL: undefined,
      SLUICE_URL: address,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close'),
  ])
  return { stdout, stderr, code: code as number | null }
}

/** A program that writes a report, at the service. */
function runReport(...args: string[]) {
  const child = spawn(process.execPath, args, {
    cwd: root,
    env: {
      ...process.env,
      NODE_OPTIONS: '',
      SLUICE_KEY: undefined,
      SLUICE_MODEL: 'sim/chat-small',
      SLUICE_URL: url,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const closed = once(child, 'close')
  const done = Promise.all([text(child.stdout), text(child.stderr), closed]).then(
    ([stdout, stderr, [code]]) => ({
      code: code as number | null,
      stdout,
      stderr,
    }),
  )
  return { child, done }
}

/** What both examples of responses print: the second text is whole, though it came over two connections. */
const responsesOutput =
  /^resp_\w{32} is queued\ncompleted: Answer \w{8}: .+\nleft after event \d\nAnswer \w{8}: .+\n$/

/** What both examples of batches print. */
const batchOutput =
  /^batch_\w+ is validating\ncompleted: 2 answered, 0 failed\nquestion 1: Answer .+\nquestion 2: Answer .+\n$/

describe('TypeScript', () => {
  test('submit-and-wait prints the answer and its cost', async () => {
    const { stdout, stderr, code } = await run(
      process.execPath,
      'examples/typescript/submit-and-wait.ts',
      'Are you there?',
    )
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^job_\w+ is queued\nAnswer \w{8}: .+\n\$0\.0000\d+ \(cache: miss\)\n$/)
  })

  test('socket prints the events of everything until its job has ended, and the answer', async () => {
    const { stdout, code } = await run(process.execPath, 'examples/typescript/socket.ts')
    expect(code).toBe(0)
    expect(stdout).toMatch(/^\S+ job\.queued (job_\w+)$[\s\S]*^\S+ job\.completed \1$\n.+/m)
  })

  test('follow-events prints the text of a stream between the events around it', async () => {
    const { stdout, stderr, code } = await run(process.execPath, 'examples/typescript/follow-events.ts')
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(
      /^1 job\.queued\n2 job\.started\nAnswer \w{8}:.*\n\d+ job\.completed\ncompleted \{/,
    )
  })

  test('responses go on in the background, and a stream goes on where it was left', async () => {
    const { stdout, stderr, code } = await run(process.execPath, 'examples/typescript/responses.ts')
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(responsesOutput)
  })

  test('batch prints the answer to each of its questions', async () => {
    const { stdout, stderr, code } = await run(process.execPath, 'examples/typescript/batch.ts')
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(batchOutput)
  })

  test('client prints an answer, a resumed stream, and the states of many jobs', async () => {
    const { stdout, stderr, code } = await run(process.execPath, 'examples/typescript/client.ts')
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(
      /^Answer \w{8}: .+\nAnswer \w{8}: .+\n\$0\.000\d+\n20 completed, 0 failed, 0 refused\n$/,
    )
  })

  test('durable writes a report once it is approved, and prints the same again for nothing', async () => {
    const program = 'examples/typescript/durable.ts'
    const first = run(process.execPath, program, 'report-1')
    const approve = async () => (await run(process.execPath, program, '--approve', 'report-1')).code
    // Before the first step there is no run that could be approved.
    await expect.poll(approve, { timeout: 20_000 }).toBe(0)
    const { stdout, stderr, code } = await first
    expect({ code, stdout }).toEqual({
      code: 0,
      stdout: expect.stringMatching(/^Answer \w{8}.*\n\$0\.000\d+\n$/s),
    })
    expect(stderr).toContain('outline is written\n')
    expect((await run(process.execPath, program, 'report-1')).stdout).toBe(stdout)
  })

  test('the program of the page on durable functions does what the page says', async () => {
    const page = await readFile(join(root, 'docs/durable.md'), 'utf8')
    const program = /^```ts\n(.*?)^```$/ms.exec(page)![1]!
    const file = join(folder, 'report.ts')
    await writeFile(file, program.replace("'sluice-client'", JSON.stringify(join(root, 'client/index.ts'))))
    const write = (...answer: string[]) => runReport(file, 'report-2', 'rivers', ...answer)
    const killed = write()
    await expect.poll(async () => (await write('no').done).code, { timeout: 20_000 }).toBe(0)
    killed.child.kill('SIGKILL')
    await killed.done
    const told = await write().done
    expect(told).toEqual({ code: 0, stdout: 'not wanted\n', stderr: '' })
    // A signal is accepted once.
    expect((await write('yes').done).stderr).toContain('already_signalled')
    expect(await write().done).toEqual(told)
  })

  test('verify-webhook takes a delivery and knows its signature', async () => {
    const port = await findFreePort()
    const receiver = await startProcess({
      args: ['examples/verify-webhook.ts'],
      env: { WEBHOOK_SECRET: await readSecret(), PORT: String(port) },
      ready: /listening on/,
    })
    const id = await createAnnounced(port)
    await receiver.waitForOutput(new RegExp(`job\\.completed ${id}: completed`))
    receiver.kill()
    await receiver.exited
  })
})

describe.skipIf(!isInstalled('curl'))('curl', () => {
  test('first-job prints the job and the call that was made for it', async () => {
    const { stdout, stderr, code } = await run('sh', 'examples/curl/first-job.sh', 'Is curl there?')
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const [location, job, attempts] = stdout.trim().split('\n')
    expect(location).toMatch(/^\/v1\/jobs\/job_/)
    expect(JSON.parse(job!)).toMatchObject({ status: 'completed', attempts: 1 })
    expect(JSON.parse(attempts!).data).toMatchObject([{ outcome: 'completed', status: 200 }])
  })
})

describe.skipIf(!isInstalled('curl') || !isInstalled('jq'))('the curl lines of the README', async () => {
  const readme = await readFile(join(root, 'README.md'), 'utf8')
  const blocks = [...readme.matchAll(/^```sh\n((?:ID=\$\()?curl .*?)^```$/gms)].map((match) => match[1]!)
  const type = (...lines: string[]) =>
    run('sh', '-c', lines.join('\n').replaceAll('http://127.0.0.1:8080', url))

  test('submit a job, wait for it, follow it, and get it from the cache', async () => {
    const [submit, waitAndFollow, ...others] = blocks
    const [wait, follow] = waitAndFollow!.trim().split('\n')
    expect(others).toEqual([])
    const { stdout } = await type(submit!, wait!, 'echo', follow!)
    const [job, ...events] = stdout.split('\n')
    expect(JSON.parse(job!)).toMatchObject({ object: 'job', status: 'completed', attempts: 1, cache: 'miss' })
    expect(events.join('\n')).toMatch(/event: job\.queued.*event: job\.started.*event: job\.completed/s)
    expect(JSON.parse((await type(submit!, wait!)).stdout)).toMatchObject({ cache: 'hit', cost_usd: 0 })
  })
})

describe.skipIf(!isInstalled('python3'))('Python', () => {
  test('submit_and_wait prints the answer and its cost', async () => {
    const { stdout, stderr, code } = await run(
      'python3',
      'examples/python/submit_and_wait.py',
      'Is Python there?',
    )
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^job_\w+ is queued\nAnswer \w{8}: .+\n\$[\d.e-]+ \(cache: miss\)\n$/)
  })

  test('bulk writes a vector for each line, in order, and an error for the one that is refused', async () => {
    const file = join(folder, 'lines.txt')
    const lines = Array.from({ length: 40 }, (_, number) => `line ${number}`)
    lines[17] = 'a [[poison]] line'
    await writeFile(file, `${lines.join('\n')}\n`)
    const { stdout, stderr, code } = await run('python3', 'examples/python/bulk.py', file)
    expect(stderr).toContain('39 embedded, 1 failed')
    expect(code).toBe(1)
    const results = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(results.map((result) => result.text)).toEqual(lines)
    expect(results.map((result) => 'vector' in result).indexOf(false)).toBe(17)
  })

  test('follow_events prints the text of a stream and how it ended', async () => {
    const { stdout, stderr, code } = await run('python3', 'examples/python/follow_events.py')
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^Answer \w{8}: .+\njob\.completed: \{'input_tokens': \d+, .+\}\n$/)
  })

  test('follow_events misses nothing though its connection breaks again and again', async () => {
    const whole = await run('python3', 'examples/python/follow_events.py', 'Over and over')
    const breaking = await startBreakingProxy(url, 1500)
    try {
      const file = 'examples/python/follow_events.py'
      const { stdout, stderr } = await runAt(breaking.url, 'python3', file, 'Over and over')
      expect({ stdout, stderr }).toEqual({ stdout: whole.stdout, stderr: '' })
      expect(breaking.breaks()).toBeGreaterThan(1)
    } finally {
      breaking.close()
    }
  })

  test('verify_webhook takes a delivery, and refuses one that was changed or signed by another', async () => {
    const port = await findFreePort()
    const secret = await readSecret()
    const receiver = await startProcess({
      command: 'python3',
      args: ['examples/python/verify_webhook.py'],
      env: { WEBHOOK_SECRET: secret, PORT: String(port) },
      ready: /listening on/,
    })
    const id = await createAnnounced(port)
    await receiver.waitForOutput(new RegExp(`job\\.completed ${id}: completed`))
    const send = async (by: string, body: string, headers: Record<string, string> = {}) => {
      const timestamp = String(Math.floor(Date.now() / 1000))
      const signature = new Webhook(by).sign('whd_1', new Date(Number(timestamp) * 1000), '{"data":{}}')
      const signed = { 'webhook-id': 'whd_1', 'webhook-timestamp': timestamp, 'webhook-signature': signature }
      return (
        await fetch(`http://127.0.0.1:${port}/`, { method: 'POST', headers: { ...signed, ...headers }, body })
      ).status
    }
    const other = `whsec_${Buffer.from('the key of somebody else').toString('base64')}`
    expect(await send(other, '{"data":{}}')).toBe(400)
    expect(await send(secret, '{"data":{} }')).toBe(400)
    expect(await send(secret, '{"data":{}}', { 'webhook-timestamp': '1000' })).toBe(400)
    expect(await send(secret, '{"data":{}}', { 'webhook-timestamp': 'now' })).toBe(400)
    expect(await send(secret, '{"data":{}}', { 'webhook-signature': 'v1,\u00e9' })).toBe(400)
    receiver.kill()
    await receiver.exited
  })

  test('every example is Python, those too that need a package', async () => {
    const code =
      'import ast, glob; [ast.parse(open(name).read(), name) for name in glob.glob("examples/python/*.py")]'
    expect(await run('python3', '-c', code)).toEqual({ code: 0, stdout: '', stderr: '' })
  })
})

const hasOpenAi = spawnSync('python3', ['-c', 'import openai']).status === 0

test.skipIf(!hasOpenAi)('openai_sdk speaks to it as to OpenAI', async () => {
  const { stdout, stderr, code } = await run('python3', 'examples/python/openai_sdk.py', 'Is the SDK there?')
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  const [job, whole, streamed, tokens, model, accepted, vectors, models, error] = stdout.trim().split('\n')
  expect(job).toMatch(/^job_\w+ miss$/)
  expect(streamed).toBe(whole)
  expect([tokens, model, accepted, vectors, models, error]).toEqual([
    expect.stringMatching(/^\d+ tokens$/),
    'chat-small',
    expect.stringMatching(/^202 \/v1\/jobs\/job_/),
    '2 vectors of 8',
    "['sim/chat-small', 'sim/embed-small', 'fast']",
    '404 model_not_found model',
  ])
})

const imports = (name: string) => spawnSync('python3', ['-c', `import ${name}`]).status === 0

test.skipIf(!imports('langchain_openai'))('LangChain in Python answers, streams and embeds', async () => {
  const { stdout, code } = await run('python3', 'examples/python/langchain_chat.py', 'Is LangChain there?')
  expect(code).toBe(0)
  const [whole, streamed, answers, vectors] = stdout.trim().split('\n')
  expect(whole).toMatch(/^Answer \w{8}: /)
  expect(streamed).toBe(whole)
  expect([answers, vectors]).toEqual(['20 answers', '2 vectors'])
})

test.skipIf(!imports('llama_index.llms.openai_like'))(
  'LlamaIndex in Python answers and streams',
  async () => {
    const { stdout, code } = await run(
      'python3',
      'examples/python/llamaindex_chat.py',
      'Is LlamaIndex there?',
    )
    expect(code).toBe(0)
    const [whole, streamed] = stdout.trim().split('\n')
    expect(whole).toMatch(/^Answer \w{8}: /)
    expect(streamed).toBe(whole)
  },
)

test.skipIf(!hasOpenAi)('responses in Python do the same as in TypeScript', async () => {
  const { stdout, stderr, code } = await run('python3', 'examples/python/responses.py', 'Python?')
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).toMatch(responsesOutput)
})

test.skipIf(!hasOpenAi)('batch in Python does the same as in TypeScript', async () => {
  const { stdout, stderr, code } = await run('python3', 'examples/python/batch.py')
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).toMatch(batchOutput)
})

test.skipIf(!hasOpenAi)('openai_async pays once for equal calls, and embeds a long list', async () => {
  const { stdout, stderr, code } = await run('python3', 'examples/python/openai_async.py', 'Async?', 'Await?')
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).toMatch(
    /^Async\? Answer .+\nAwait\? Answer .+\nCounter\(\{'not paid': 4, 'paid': 2\}\)\n250 vectors\n\['400', 'answered'\]\n$/,
  )
})

/** That of the configuration without a file. */
async function readSecret(): Promise<string> {
  return /whsec_\w+/.exec(await readFile(join(root, 'tryout.ts'), 'utf8'))![0]
}

/** Creates a job whose end is announced on this port. */
async function createAnnounced(port: number): Promise<string> {
  const response = await fetch(`${url}/v1/jobs`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      type: 'chat',
      body: { model: 'sim/chat-small', messages: [{ role: 'user', content: `Call ${port} back` }] },
      webhook: { url: `http://127.0.0.1:${port}/`, events: ['job.completed'] },
    }),
  })
  return ((await response.json()) as { id: string }).id
}

async function findFreePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address() as AddressInfo
  probe.close()
  await once(probe, 'close')
  return port
}

const python = findPython()
describe.skipIf('missing' in python)(
  `the Python client${'missing' in python ? ` (${python.missing})` : ''}`,
  () => {
    test('its own tests pass', { timeout: 120_000 }, async () => {
      if ('missing' in python) return
      const path = joinPaths(PYTHON_CLIENT, python.path)
      const args = ['-B', '-m', 'unittest', 'discover', '-v', '-s', join(PYTHON_CLIENT, 'tests')]
      const { stderr, code } = await run('env', `PYTHONPATH=${path}`, python.command, ...args)
      expect(code, stderr).toBe(0)
      expect(stderr).toMatch(/^Ran \d\d tests in .*\n\nOK$/m)
    })
  },
)
