/**
 * Does the steps of the Dockerfile without a container engine, each stage in a root of its own (debootstrap, unshare), then starts what came of it as the image does: read-only,
 * as its user, with nothing but its own Redis. It has to do a job, to be healthy by its own check, to end on SIGTERM, and to have no shell. It needs root, Linux,
 * `debootstrap`, and the registries of Debian and npm. `npm run image:check -- --help` lists the options.
 */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { createSimulator } from '../../simulator/simulator.ts'
import { buildImage, type Image } from './build.ts'
import { findNpm, makeBase } from './roots.ts'

const HELP = `npm run image:check -- [options]

  --base DIR   a root that an earlier run left there, or where this run leaves one (default: a new one)
  --keep       leaves the built root and says where
`
const { values } = parseArgs({
  options: {
    base: { type: 'string' },
    keep: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})
const REPOSITORY = join(import.meta.dirname, '../..')
const KEY = 'the-key-of-the-image-check'
const STARTING_MS = 60_000
const SHELLS = ['sh', 'bash', 'dash', 'ash', 'busybox', 'perl', 'npm', 'apt-get', 'dpkg']

if (values.help) process.stdout.write(HELP)
else {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-image-'))
  try {
    await check(folder)
  } finally {
    if (values.keep) say(`kept: ${folder}`)
    else rmSync(folder, { recursive: true, force: true })
  }
}

async function check(folder: string): Promise<void> {
  const since = performance.now()
  const seconds = () => `${Math.round((performance.now() - since) / 1000)} s`
  const base = values.base ?? join(folder, 'base')
  if (existsSync(join(base, 'usr/local/bin/node'))) say(`the base of an earlier run: ${base}`)
  else {
    makeBase(base, process.execPath, findNpm())
    say(`the base stands after ${seconds()}`)
  }
  const image = buildImage(REPOSITORY, base, folder, say)
  say(`the image is built after ${seconds()}`)
  const found = findShells(image.root)
  if (found.length > 0) throw new Error(`the image has ${found.join(', ')}`)
  say('it has no shell, no package manager and no Perl')
  await use(image, folder)
  process.stdout.write(`the steps of the Dockerfile hold, after ${seconds()}\n`)
}

function findShells(root: string): string[] {
  const folders = ['bin', 'sbin', 'usr/bin', 'usr/sbin', 'usr/local/bin']
  return SHELLS.flatMap((name) => folders.map((folder) => `${folder}/${name}`)).filter((path) =>
    existsSync(join(root, path)),
  )
}

/** Starts it, has a job done, asks for its health, and stops it. */
async function use(image: Image, folder: string): Promise<void> {
  const simulator = createSimulator()
  const upstream = await simulator.listen(0, '127.0.0.1')
  const port = await findPort()
  const config = join(image.root, image.env.SLUICE_CONFIG!)
  mkdirSync(join(config, '..'), { recursive: true })
  const provider = { kind: 'openai-compatible', base_url: upstream, api_key: 'any', models: { m: {} } }
  writeFileSync(config, JSON.stringify({ providers: { sim: provider }, tenants: { acme: { keys: [KEY] } } }))
  const service = start(image, folder, { ...image.env, PORT: String(port) })
  try {
    const url = `http://127.0.0.1:${port}`
    await waitUntil(async () => (await fetch(`${url}/healthz`).catch(() => null))?.ok === true, service)
    say('/healthz answers 200')
    const page = await fetch(`${url}/dashboard/`)
    if (page.status !== 200) throw new Error(`/dashboard/ answers ${page.status}`)
    const headers = { authorization: `Bearer ${KEY}`, 'content-type': 'application/json' }
    const messages = [{ role: 'user', content: 'Hello' }]
    const body = JSON.stringify({ type: 'chat', body: { model: 'sim/m', messages } })
    const { id } = (await (await fetch(`${url}/v1/jobs`, { method: 'POST', headers, body })).json()) as {
      id: string
    }
    const job = (await (await fetch(`${url}/v1/jobs/${id}?wait=20`, { headers })).json()) as {
      status: string
    }
    if (job.status !== 'completed') throw new Error(`its job is ${job.status}`)
    say('it has done a job')
    const health = spawnSync('chroot', [image.root, ...image.healthCheck], {
      env: { PATH: '/usr/local/bin:/usr/sbin:/usr/bin', PORT: String(port) },
    })
    if (health.status !== 0) throw new Error(`its health check ends with ${health.status}: ${health.stderr}`)
    say('its own health check says that it is healthy')
    service.terminate()
    const code = await service.exited
    if (code !== 0) throw new Error(`SIGTERM ended it with ${code}:\n${service.output()}`)
    say('SIGTERM ends it with 0')
  } finally {
    service.kill()
    await service.exited
    await simulator.close()
  }
}

type Running = {
  output(): string
  exited: Promise<number | null>
  terminate(): void
  kill(): void
}

/** In namespaces of its own: the root read-only, a /tmp in memory, its volumes writable. */
function start(image: Image, folder: string, env: Record<string, string>): Running {
  const { root, volumes, user, command } = image
  const mounts = [
    `mount --bind ${root} ${root}`,
    ...volumes.map((path, at) => {
      const kept = join(folder, `volume-${at}`)
      spawnSync('cp', ['-a', join(root, path), kept])
      return `mount --bind ${kept} ${root}${path}`
    }),
    `mount -o remount,bind,ro ${root}`,
    `mount -t tmpfs tmpfs ${root}/tmp`,
    `mount -t proc proc ${root}/proc`,
  ]
  // `chroot` starts in the root's top folder.
  const go = `process.chdir(${JSON.stringify(image.folder)}); process.execve('/usr/local/bin/node', ${JSON.stringify(command)}, process.env)`
  const script = `${mounts.join(' && ')} && exec chroot --userspec=${user}:${user} ${root} /usr/local/bin/node -e "$GO"`
  const child = spawn('unshare', ['--mount', '--pid', '--fork', '--kill-child', 'sh', '-c', script], {
    env: { PATH: '/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', ...env, GO: go },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      output = (output + text).slice(-8000)
    })
  const exited = once(child, 'exit').then(([code]) => code as number | null)
  return {
    output: () => output,
    exited,
    terminate() {
      const children = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').trim()
      process.kill(Number(children.split(' ')[0]), 'SIGTERM')
    },
    kill: () => void child.kill('SIGKILL'),
  }
}

async function waitUntil(look: () => Promise<boolean>, service: Running): Promise<void> {
  const until = performance.now() + STARTING_MS
  let hasEnded = false
  void service.exited.then(() => {
    hasEnded = true
  })
  while (!(await look())) {
    if (hasEnded || performance.now() > until) throw new Error(`it does not serve:\n${service.output()}`)
    await sleep(200)
  }
}

async function findPort(): Promise<number> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}

function say(line: string): void {
  process.stderr.write(`${line}\n`)
}
