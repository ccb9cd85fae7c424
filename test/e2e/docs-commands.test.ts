import { spawn, spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { globSync, readFileSync } from 'node:fs'
import { chmod, cp, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createSimulator } from '../../simulator/simulator.ts'
import { startProcess } from '../helpers/processes.ts'
import { RUN_VARIABLE } from '../helpers/run-processes.ts'
import { readShellBlocks, type ShellBlock } from '../helpers/shell-blocks.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const pages = globSync(['*.md', 'docs/**/*.md', 'examples/*.md', 'bench/**/*.md'], { cwd: root }).sort()
const blocks = pages.flatMap((page) => readShellBlocks(page, readFileSync(join(root, page), 'utf8')))

/** Commands that do not run here, and why. */
const notRun: [command: RegExp, reason: string][] = [
  [/^npm run demo\b/, 'demo.test.ts runs it'],
  [
    /^npm run (?:bench|faults)\b/,
    'takes minutes; bench.test.ts, bench-door.test.ts and faults.test.ts run the same in short',
  ],
  [/^npm install \.\/sluice-|^npx sluice /, 'npm-package.test.ts installs the package and runs it'],
  [/^npm (?:run client:build|pack)\b/, 'writes into the clone; client-package.test.ts builds it elsewhere'],
  [/^sluice worker \|/, 'says nothing until there is something to say'],
  [/^docker /, 'needs a Docker daemon; container.test.ts reads the files'],
  [/^sudo /, 'changes the machine'],
  [/^systemctl /, 'changes the machine; systemd.test.ts reads the unit'],
  [
    /^sluice (?:tenants (?:create|change|delete|pause|resume)|keys (?:create|list|revoke)) /,
    'needs a server with tenants; cli.test.ts runs them',
  ],
  [/groups\/nightly\/budget/, 'needs the key of a tenant; budgets.test.ts asks the same'],
  [/\/v1\/budgets/, 'needs the key of a tenant; list.test.ts of budgets asks the same'],
  [/\/v1\/tenants/, 'needs a server with tenants; run-time.test.ts asks the same'],
  [/completion (?:zsh|fish)/, 'needs that shell'],
]

/** Commands that run until they are stopped, and their output when they serve. */
const endless: [command: RegExp, ready: RegExp][] = [
  [/^npm start$/, /"msg":"ready"/],
  [/^(?:node main\.ts|npm run -s) simulator /, /simulator: http:/],
  [/node examples\/verify-webhook\.ts$/, /listening on/],
  [/^sluice lanes --watch /, /^LANE/],
  [/^sluice events /, /job\.completed/],
  [/\/v1\/overview\/events/, /^event: overview/],
  [/\/v1\/events/, /^event: job\./],
]

const find = <Rule extends [RegExp, unknown]>(rules: Rule[], command: string) =>
  rules.find(([expression]) => expression.test(command))

const tools = ['bash', 'curl', 'jq', 'openssl', 'npm']
const areThere = tools.every((tool) => spawnSync(tool, ['--version']).error === undefined)

let folder = ''
let url = ''
let config = ''
const simulator = createSimulator({ outputTokens: 8 })
let stop = async () => {}

beforeAll(async () => {
  folder = await mkdtemp(join(process.env[RUN_VARIABLE] ?? tmpdir(), 'docs-'))
  const upstream = await simulator.listen()
  const provider = `{ kind: openai-compatible, base_url: "${upstream}", models: { "*": {} } }`
  config = `providers:
  sim: { kind: openai-compatible, base_url: "${upstream}", models: { chat-small: {}, embed-small: {} } }
  openai: ${provider}
routes: { fast: [sim/chat-small] }
webhooks: { allow_private_addresses: true }
`
  await writeFile(join(folder, 'sluice.yaml'), config)
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
  const bin = join(folder, 'bin')
  await mkdir(bin)
  await writeFile(join(bin, 'sluice'), `#!/bin/sh\nexec "${process.execPath}" "${root}/main.ts" "$@"\n`)
  await chmod(join(bin, 'sluice'), 0o755)
})
afterAll(async () => {
  await stop()
  await simulator.close()
  await rm(folder, { recursive: true, force: true })
})

test('every reason not to run a command here is the reason of one', () => {
  const commands = blocks.flatMap((block) => block.commands)
  const unused = notRun.filter(([expression]) => !commands.some((command) => expression.test(command)))
  expect(unused).toEqual([])
})

test('every block of commands is marked as sh, so that it is found', () => {
  const others = pages.filter((page) =>
    /^```(?:bash|shell|console|zsh)\b/m.test(readFileSync(join(root, page), 'utf8')),
  )
  expect(others).toEqual([])
})

const named = pages.filter((page) => blocks.some((block) => block.page === page))
/** Pages that do something with all failed jobs: one after the other, because each needs its own. */
const ofFailures = named.filter((page) =>
  blocks.some(
    (block) => block.page === page && /sluice (?:failures|redrive)/.test(block.commands.join('\n')),
  ),
)

describe.skipIf(!areThere)('the commands of', { timeout: 60_000 }, () => {
  test.concurrent.each(named.filter((page) => !ofFailures.includes(page)))('%s run', runPage)

  test.each(ofFailures)('%s run', async (page) => {
    await failJobs(page)
    await runPage(page)
  })
})

async function runPage(page: string): Promise<void> {
  const { code, output } = await runScript(await layOut(page), await writeScript(page))
  expect({ code, output: code === 0 ? '' : output }).toEqual({ code: 0, output: '' })
}

/** A clone in which everything written stays in the test's folder, with the files that pages assume. */
async function layOut(page: string): Promise<string> {
  // A name of its own: a page that is retried starts over.
  const place = await mkdtemp(join(folder, `${page.replaceAll('/', '-')}-`))
  const entries = (await readdir(root)).filter((name) => !name.startsWith('.') && name !== 'sluice.yaml')
  await Promise.all(
    entries.map((name) =>
      // These folders get new files; all else is linked, so a command that would write elsewhere has to be in the
      // list above.
      ['client', 'monitoring'].includes(name)
        ? cp(join(root, name), join(place, name), { recursive: true })
        : symlink(join(root, name), join(place, name)),
    ),
  )
  const jobs = ['one', 'two'].map((name) => ({
    type: 'chat',
    body: chat('openai/gpt-5-mini', `${page} ${name}`),
  }))
  const line = { custom_id: '1', method: 'POST', url: '/v1/chat/completions', body: jobs[0]!.body }
  const toLines = (values: object[]) => values.map((value) => `${JSON.stringify(value)}\n`).join('')
  for (const name of ['jobs.jsonl', 'jobs.ndjson']) await writeFile(join(place, name), toLines(jobs))
  await writeFile(join(place, 'nightly.jsonl'), toLines(jobs.slice(1)))
  await writeFile(join(place, 'input.jsonl'), toLines([line]))
  // Its job is accepted, and fails later: the file is not sound.
  await writeFile(join(place, 'morning.mp3'), 'ID3')
  if (page === 'docs/cli.md' || page.startsWith('docs/recipes/'))
    await writeFile(join(place, 'sluice.yaml'), config)
  return place
}

const chat = (model: string, content: string) => ({ model, messages: [{ role: 'user', content }] })

/** One that timed out and one that was refused; called again they complete. */
async function failJobs(page: string): Promise<void> {
  // A second try must not find the answers of the first.
  const text = `${page} ${randomUUID()}`
  const ids = await Promise.all([
    createJob({
      body: chat('sim/chat-small', `${text} [[fault:hang:times=1]]`),
      timeout_ms: 200,
      max_attempts: 1,
    }),
    createJob({ body: chat('sim/chat-small', `${text} [[fault:400:times=1]]`) }),
  ])
  for (const id of ids) {
    const response = await fetch(`${url}/v1/jobs/${id}?wait=20`)
    expect(await response.json()).toMatchObject({ status: 'failed' })
  }
}

/** A page's commands in one shell, in their order, so that the next block has what one block sets. */
async function writeScript(page: string): Promise<string> {
  const lines = await Promise.all(blocks.filter((block) => block.page === page).map(writeBlock))
  return [prelude, ...lines.flat()].join('\n')
}

const prelude = `set -e -o pipefail
curl() { command curl --fail-with-body --max-time 30 "$@"; }
# Runs a command until its output says that it serves, then ends it.
serve() {
  local log="$PWD/.serve.log"
  set -m; bash -c "$2" > "$log" 2>&1 & local pid=$!; set +m
  for ((tries = 0; tries < 200; tries++)); do
    grep -Eq "$1" "$log" && { kill -TERM -$pid; wait $pid || true; return 0; }
    sleep 0.1
  done
  kill -KILL -$pid; cat "$log"; return 1
}`

async function writeBlock({ page, commands }: ShellBlock): Promise<string[]> {
  const run = commands.filter((command) => find(notRun, command) === undefined)
  // Its scripts work on the clone itself, wherever they are called: tests within tests, and builds.
  const careless = run.find((command) => /^npm (?!start$|run (?:-s )?(?:sluice|simulator) )/.test(command))
  if (careless !== undefined) throw new Error(`${page}: say why ${careless} is not run, or run it with care`)
  // A job that is to be cancelled must not have ended by then.
  const later = run.some((command) => /\bcancel\b/.test(command)) ? { delay_ms: 600_000 } : {}
  const id = run.some((command) => /\$ID|job_\w{32}/.test(command)) ? await createJob(later) : ''
  return [
    `ID=${id}`,
    ...run.map((command) => {
      const adapted = command
        .replaceAll('http://127.0.0.1:8080', url)
        .replaceAll(/job_\w{32}/g, id)
        .replaceAll(/(--port |\bPORT=)\d+/g, '$10')
      const ready = find(endless, command)?.[1]
      return ready === undefined ? adapted : `serve ${quote(ready.source)} ${quote(adapted)}`
    }),
  ]
}

const quote = (value: string) => `'${value.replaceAll("'", `'\\''`)}'`

async function createJob(members: object): Promise<string> {
  const response = await fetch(`${url}/v1/jobs`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ type: 'chat', body: chat('sim/chat-small', 'Read me'), ...members }),
  })
  const { id } = (await response.json()) as { id: string }
  return id
}

async function runScript(place: string, script: string): Promise<{ code: number; output: string }> {
  const child = spawn('bash', ['-c', `exec 2>&1\nset -x\n${script}`], {
    cwd: place,
    env: {
      ...process.env,
      NODE_OPTIONS: '',
      PATH: [join(folder, 'bin'), dirname(process.execPath), process.env.PATH].join(delimiter),
      PORT: '0',
      SLUICE_URL: url,
      SLUICE: url,
      KEY: 'any-key-of-sixteen',
      ADMIN_KEY: 'any-key-of-sixteen',
      OPENAI_API_KEY: 'sk-of-nobody',
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [output, [code]] = await Promise.all([text(child.stdout), once(child, 'close')])
  return { code, output }
}
