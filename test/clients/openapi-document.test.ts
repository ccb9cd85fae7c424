// The OpenAPI document as other makers' tools read it: linters, and generators whose code has to compile.
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, test } from 'vitest'
import { createTestApi } from '../helpers/api.ts'

const packages = fileURLToPath(new URL('./node_modules', import.meta.url))
const run = promisify(execFile)
let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-openapi-'))
  await symlink(packages, join(folder, 'node_modules'))
  const api = await createTestApi()
  await writeFile(join(folder, 'openapi.json'), (await api.app.inject({ url: '/openapi.json' })).body)
  await api.close()
})
afterAll(() => rm(folder, { recursive: true, force: true }))

/** Runs a tool of the packages; if it fails, its output is the error. */
async function tool(path: string, ...args: string[]): Promise<string> {
  try {
    const env = {
      ...process.env,
      REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true',
      REDOCLY_TELEMETRY: 'off',
      NO_COLOR: '1',
    }
    return (await run(process.execPath, [join(packages, path), ...args], { cwd: folder, env })).stdout
  } catch (error) {
    const { stdout, stderr } = error as { stdout?: string; stderr?: string }
    throw new Error(`${path} failed:\n${stdout}\n${stderr}`)
  }
}

async function compile(source: string, lines: string): Promise<void> {
  await writeFile(join(folder, source, 'use.ts'), lines)
  const options = {
    strict: true,
    noEmit: true,
    target: 'es2022',
    module: 'esnext',
    moduleResolution: 'bundler',
    skipLibCheck: true,
    lib: ['es2022', 'dom', 'dom.iterable'],
    types: [],
  }
  await writeFile(
    join(folder, `tsconfig.${source}.json`),
    JSON.stringify({ compilerOptions: options, include: [source] }),
  )
  await tool('typescript/bin/tsc', '-p', `tsconfig.${source}.json`)
}

test('redocly finds no error', async () => {
  await tool('@redocly/cli/bin/cli.js', 'lint', 'openapi.json')
})

test('spectral finds no error', async () => {
  await writeFile(join(folder, '.spectral.yaml'), 'extends: ["spectral:oas"]\n')
  await tool('@stoplight/spectral-cli/dist/index.js', 'lint', '--fail-severity=error', 'openapi.json')
})

test('openapi-typescript and openapi-fetch make a client that compiles', async () => {
  await mkdir(join(folder, 'fetch'))
  await tool('openapi-typescript/bin/cli.js', 'openapi.json', '-o', 'fetch/schema.ts')
  await compile(
    'fetch',
    `import createClient from 'openapi-fetch'
import type { paths } from './schema'
const client = createClient<paths>({ baseUrl: 'http://127.0.0.1:8080' })
export const job = await client.GET('/v1/jobs/{id}', { params: { path: { id: 'job_1' }, query: { wait: 30 } } })
export const status: string | undefined = job.data?.status
export const paused = await client.POST('/v1/lanes/{lane}/pause', { params: { path: { lane: 'a/b' } }, body: { for_ms: 5 } })
`,
  )
})

test('orval makes a client that compiles', async () => {
  const config = {
    sluice: {
      input: './openapi.json',
      output: { target: './orval/client.ts', client: 'fetch', baseUrl: 'http://127.0.0.1:8080' },
    },
  }
  await writeFile(join(folder, 'orval.config.mjs'), `export default ${JSON.stringify(config)}\n`)
  await tool('orval/dist/bin/orval.mjs', '--config', 'orval.config.mjs')
  await compile(
    'orval',
    `import { getJob, pauseLane } from './client'
export const job = await getJob('job_1', { wait: 30 })
export const lane = await pauseLane('a/b', { for_ms: 5 })
`,
  )
})

test('hey-api makes a client that compiles', async () => {
  await tool(
    '@hey-api/openapi-ts/bin/run.js',
    '-i',
    'openapi.json',
    '-o',
    'hey',
    '-c',
    '@hey-api/client-fetch',
    '--no-log-file',
  )
  await compile(
    'hey',
    `import { getJob, pauseLane } from './sdk.gen'
export const job = await getJob({ path: { id: 'job_1' }, query: { wait: 30 } })
export const lane = await pauseLane({ path: { lane: 'a/b' }, body: { for_ms: 5 } })
`,
  )
})
