import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** Where Debian's packages come from. */
const MIRROR = 'http://deb.debian.org/debian'
const SUITE = 'bookworm'
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/**
 * Makes what stands in for `node:24-slim`: a minimal Debian with Node and npm in /usr/local and the user `node`.
 *
 * @param node the program, and `npm` the folder of its package
 */
export function makeBase(root: string, node: string, npm: string): void {
  run('debootstrap', ['--variant=minbase', SUITE, root, MIRROR])
  const modules = join(root, 'usr/local/lib/node_modules')
  mkdirSync(modules, { recursive: true })
  cpSync(realpathSync(node), join(root, 'usr/local/bin/node'), { dereference: true })
  cpSync(npm, join(modules, 'npm'), { recursive: true, dereference: true })
  runIn(root, '/', 'ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm', {})
  const user =
    'groupadd --gid 1000 node && useradd --uid 1000 --gid node --shell /bin/bash --create-home node'
  runIn(root, '/', user, {})
  writeFileSync(join(root, 'usr/local/bin/docker-entrypoint.sh'), '#!/bin/sh\nexec "$@"\n', { mode: 0o755 })
}

/** The folder of the npm that this machine has. */
export function findNpm(): string {
  const command = execFileSync('sh', ['-c', 'command -v npm'], { encoding: 'utf8' }).trim()
  const folder = join(dirname(realpathSync(command)), '..')
  if (!existsSync(join(folder, 'bin/npm-cli.js'))) throw new Error(`${folder} is no npm`)
  return folder
}

export function copyRoot(from: string, to: string): void {
  run('cp', ['-a', '--reflink=auto', from, to])
}

/** Runs a shell command in a root, as `RUN` does. */
export function runIn(root: string, folder: string, command: string, env: Record<string, string>): void {
  // How this machine reaches the network.
  for (const path of ['etc/resolv.conf', 'etc/hosts'])
    if (existsSync(`/${path}`)) writeFileSync(join(root, path), readFileSync(`/${path}`))
  const proxies = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => /^(?:https?|no)_proxy$|^npm_config_registry$/i.test(name)),
  )
  // The certificates that this machine trusts, while the step runs: a proxy may have one of its own.
  const certificates = join(root, 'tmp/build-certificates.crt')
  const trusted = process.env.NODE_EXTRA_CA_CERTS ?? '/etc/ssl/certs/ca-certificates.crt'
  if (existsSync(trusted)) cpSync(trusted, certificates, { dereference: true })
  const args = [
    '--mount',
    '--pid',
    '--fork',
    '--kill-child',
    `--root=${root}`,
    `--wd=${folder}`,
    '--mount-proc',
  ]
  run('unshare', [...args, '/bin/sh', '-c', command], {
    ...proxies,
    PATH,
    HOME: '/root',
    DEBIAN_FRONTEND: 'noninteractive',
    ...(existsSync(certificates) && { NODE_EXTRA_CA_CERTS: '/tmp/build-certificates.crt' }),
    ...env,
  } as Record<string, string>)
  rmSync(certificates, { force: true })
}

function run(command: string, args: string[], env?: Record<string, string>): void {
  const { status, error, stdout, stderr } = spawnSync(command, args, {
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
    ...(env && { env: { ...env, PATH: env.PATH ?? PATH } }),
  })
  if (error) throw error
  if (status !== 0)
    throw new Error(`${command} ${args.join(' ')} ended with ${status}:\n${stdout}\n${stderr}`)
}
