import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { buildClient } from '../../scripts/client/build.ts'
import { RUN_VARIABLE } from '../helpers/run-processes.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const run = promisify(execFile)

/** An application that has the packed package, and nothing of this repository, among its packages. */
let application = ''
beforeAll(async () => {
  application = await mkdtemp(join(process.env[RUN_VARIABLE] ?? tmpdir(), 'client-'))
  const source = join(application, 'source')
  const target = join(application, 'node_modules/sluice-client')
  await mkdir(target, { recursive: true })
  await buildClient(join(source, 'dist'))
  for (const file of ['package.json', 'README.md']) await cp(join(root, 'client', file), join(source, file))
  const { stdout } = await run('npm', ['pack', '--json', '--pack-destination', application], { cwd: source })
  const [{ filename }] = JSON.parse(stdout)
  await run('tar', ['-xzf', join(application, filename), '-C', target, '--strip-components', '1'])
  await writeFile(join(application, 'package.json'), '{ "type": "module" }')
})
afterAll(() => rm(application, { recursive: true, force: true }))

test('the packed package holds its code, its types and its page, and needs no other', async () => {
  const target = join(application, 'node_modules/sluice-client')
  expect((await readdir(target)).sort()).toEqual(['README.md', 'dist', 'package.json'])
  expect(JSON.parse(await readFile(join(target, 'package.json'), 'utf8'))).not.toHaveProperty('dependencies')
  const files = await readdir(join(target, 'dist'))
  for (const file of files.filter((name) => name.endsWith('.js'))) {
    const code = await readFile(join(target, 'dist', file), 'utf8')
    const imports = [...code.matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map((match) => match[1])
    // Only its own modules: nothing of Node, so that it runs in browsers and elsewhere.
    expect(imports.filter((name) => !/^\.\/[\w-]+\.js$/.test(name!))).toEqual([])
    expect(code).not.toMatch(/\b(process|Buffer|require)\b\s*[.(]/)
  }
})

test('plain Node imports it and uses it', async () => {
  await writeFile(
    join(application, 'use.mjs'),
    `import { createServer } from 'node:http'
import { createClient, JobFailedError, SluiceError, verifyWebhook } from 'sluice-client'
const server = createServer((request, response) => {
  response.setHeader('content-type', 'application/json')
  response.end(JSON.stringify({ id: 'job_1', status: 'completed', result: { said: request.url } }))
}).listen(0, '127.0.0.1', async () => {
  const client = createClient({ url: 'http://127.0.0.1:' + server.address().port })
  const result = await client.run({ type: 'chat', body: { model: 'a/b', messages: [] } })
  console.log(result.said, typeof verifyWebhook, new SluiceError({ status: null, code: 'x', message: 'y' }).name)
  server.close()
  server.closeAllConnections()
})
`,
  )
  const { stdout } = await run(process.execPath, ['use.mjs'], { cwd: application })
  expect(stdout).toBe('/v1/jobs function SluiceError\n')
})

test('CommonJS requires it, with the same exports, and its types are found there as well', async () => {
  await writeFile(
    join(application, 'use.cjs'),
    `const client = require('sluice-client')
import('sluice-client').then((module) => {
  const names = (exports) => Object.keys(exports).filter((name) => name !== 'default' && name !== 'module.exports').sort().join()
  console.log(names(client) === names(module), typeof client.createClient({ url: 'http://127.0.0.1:1' }).submit)
})
`,
  )
  const { stdout } = await run(process.execPath, ['use.cjs'], { cwd: application })
  expect(stdout).toBe('true function\n')
  await writeFile(
    join(application, 'types.cts'),
    `import client = require('sluice-client')
const made: client.SluiceClient = client.createClient({ url: 'http://127.0.0.1:1' })
made.get(1)
`,
  )
  const tsc = [
    join(root, 'node_modules/typescript/bin/tsc'),
    '--ignoreConfig',
    '--pretty',
    'false',
    '--noEmit',
    '--strict',
  ]
  const flags = ['--types', '', '--module', 'nodenext', '--lib', 'es2023,dom', 'types.cts']
  const said: string = await run(process.execPath, [...tsc, ...flags], { cwd: application }).then(
    () => '',
    (error: { stdout: string }) => error.stdout,
  )
  // The expected one.
  expect(said.trim().split('\n')).toEqual([expect.stringMatching(/^types\.cts\(3,10\).*'number'.*'string'/)])
})

const begin = `import { createClient, type CreateJob, type Job } from 'sluice-client'
const client = createClient({ url: 'http://127.0.0.1:8080' })
const job: Job = await client.get('job_1')
`
const right = `${begin}
type Status = 'scheduled' | 'queued' | 'running' | 'completed' | 'failed' | 'cancelled'
const there: Status = job.status
const back: Job['status'] = there
interface Message { role: 'user'; content: string }
interface Body { model: string; messages: Message[]; temperature?: number }
declare const body: Body
const create: CreateJob = { type: 'chat', body, metadata: { of: back } }
await client.submit({ type: 'chat', body: { model: 'a/b', messages: [{ role: 'user', content: 'x' }], temperature: 1 } })
const result = await client.run<{ text: string }>(create, { timeoutMs: 5 })
for await (const event of client.events({ group: result.text })) {
  if (event.type === 'job.failed') event.data.job.error?.code.toUpperCase()
  if (event.type === 'job.delta') event.data.attempt.toFixed()
}
for await (const answer of client.submitMany([create])) if ('id' in answer) answer.id.at(0)
`
const wrong = [
  ["if (job.status === 'done') await client.cancel(job.id)", 'have no overlap'],
  [
    "await client.submit({ type: 'chat', body: { model: 'a/b', messages: [] }, priorty: 'high' })",
    "'priorty'",
  ],
  ["await client.submit({ type: 'chat', body: { messages: [] } })", 'model'],
  ["await client.submit({ type: 'song', body: { model: 'a/b' } })", '"song"'],
  ['job.result.choices', 'possibly'],
] as const

test("its types are the API's: the status is the union, members that pass through are free, others are not", async () => {
  await writeFile(join(application, 'right.ts'), right)
  for (const [index, [line]] of wrong.entries()) {
    await writeFile(join(application, `wrong-${index}.ts`), begin + line)
  }
  // Without the types of Node, as for a browser.
  const flags = ['--strict', '--noEmit', '--types', '', '--module', 'nodenext', '--lib', 'es2023,dom']
  const programs = ['right.ts', ...wrong.map((_, index) => `wrong-${index}.ts`)]
  const tsc = [join(root, 'node_modules/typescript/bin/tsc'), '--ignoreConfig', '--pretty', 'false', ...flags]
  const said: string = await run(process.execPath, [...tsc, ...programs], { cwd: application }).then(
    () => '',
    (error: { stdout: string }) => error.stdout,
  )
  const complaints = said.split(/\n(?=\S)/)
  expect(complaints.filter((complaint) => complaint.startsWith('right.ts'))).toEqual([])
  for (const [index, [, expected]] of wrong.entries()) {
    const found = complaints.filter((complaint) => complaint.startsWith(`wrong-${index}.ts`)).join('\n')
    expect(found).toContain(expected)
  }
})
