import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type Child, startChild } from '../child.ts'

const NAME = '@portkey-ai/gateway'
export const PORTKEY_VERSION = '1.15.2'

/**
 * Portkey's gateway, a Node process that passes calls on and stores nothing: what a proxy costs. If it is missing, it
 * is fetched into a cache of the user's; nothing here depends on it.
 */
export async function startPortkey(
  profile: string | null,
  say: (line: string) => void,
): Promise<Child & { url: string }> {
  const script = await install(say)
  const port = await findPort()
  const child = await startChild({
    name: 'portkey',
    args: [
      '--import',
      new URL('../serve-usage.ts', import.meta.url).href,
      '--import',
      new URL('../mend-streams.ts', import.meta.url).href,
      script,
      `--port=${port}`,
      '--headless',
    ],
    env: { NODE_ENV: 'production' },
    ready: /Ready for connections/,
    profile,
  })
  return { ...child, url: `http://127.0.0.1:${port}/v1` }
}

async function install(say: (line: string) => void): Promise<string> {
  const cache = process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache')
  const folder = join(cache, 'sluice-bench', `portkey-gateway-${PORTKEY_VERSION}`)
  const own = join(folder, 'node_modules', NAME)
  const known = await readFile(join(own, 'package.json'), 'utf8').catch(() => null)
  if (known === null || JSON.parse(known).version !== PORTKEY_VERSION) {
    say(`fetching ${NAME} ${PORTKEY_VERSION} into ${folder}`)
    await mkdir(folder, { recursive: true })
    const args = ['--no-save', '--ignore-scripts', '--no-audit', '--no-fund']
    await promisify(execFile)('npm', ['install', '--prefix', folder, ...args, `${NAME}@${PORTKEY_VERSION}`])
  }
  return join(own, 'build', 'start-server.js')
}

/** Portkey does not accept port 0. */
async function findPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('a server without a port')
  return address.port
}
