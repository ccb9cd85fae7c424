import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, globSync } from 'node:fs'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { findDeadLinks } from './dead-links.ts'
import { collectSite } from './pages.ts'

/** Plain JavaScript without types, since it runs before anything is installed. */
const installer = new URL('../install.mjs', import.meta.url).href

const root = fileURLToPath(new URL('../..', import.meta.url))
const site = join(root, 'site')

/**
 * Where the API serves the site. Its pages use relative links to each other, so that they work below any other path,
 * too.
 */
const BASE = '/docs/guide/'

/** Builds site/dist from docs/. It installs its packages first if they are missing: nothing else needs them. */
export async function buildSite(): Promise<void> {
  const { ensurePackages } = await import(installer)
  await ensurePackages({
    root: site,
    log: (line: string) => process.stderr.write(`sluice: ${line}\n`),
    of: ' of site',
  })
  await writePages()
  await runVitePress()
  await moveScripts(join(site, 'dist'))
  const dead = await findDeadLinks(join(site, 'dist'), BASE)
  if (dead.length > 0) throw new Error(`dead links:\n${dead.join('\n')}`)
}

async function writePages(): Promise<void> {
  const { pages, files, sidebar } = collectSite(root)
  await rm(join(site, 'pages'), { recursive: true, force: true })
  for (const [path, content] of [...pages, ...files]) {
    const file = join(site, 'pages', path)
    await mkdir(dirname(file), { recursive: true })
    await writeFile(file, content)
  }
  await writeFile(join(site, 'sidebar.json'), JSON.stringify(sidebar))
}

async function runVitePress(): Promise<void> {
  const program = join(site, 'node_modules/vitepress/bin/vitepress.js')
  const child = spawn(process.execPath, [program, 'build', site], { stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  child.stderr.on('data', (chunk: Buffer) => {
    said += chunk
  })
  const [code] = await once(child, 'close')
  if (code !== 0 || !existsSync(join(site, 'dist/index.html')))
    throw new Error(`VitePress failed (${code}):\n${said}`)
}

/**
 * Moves scripts inside of pages into files, so that the policy of the route can forbid all other ones.
 *
 * @param dist the built site
 */
export async function moveScripts(dist: string): Promise<void> {
  for (const page of globSync('**/*.html', { cwd: dist })) {
    const html = await readFile(join(dist, page), 'utf8')
    const root = page.split(sep).length > 1 ? '../'.repeat(page.split(sep).length - 1) : './'
    const moved: [name: string, code: string][] = []
    const changed = html.replaceAll(
      /<script(?![^>]*\bsrc=)([^>]*)>([\s\S]*?)<\/script>/g,
      (_, attributes: string, code: string) => {
        const name = `inline-${createHash('sha256').update(code).digest('hex').slice(0, 12)}.js`
        moved.push([name, code])
        return `<script${attributes} src="${root}assets/${name}"></script>`
      },
    )
    for (const [name, code] of moved) await writeFile(join(dist, 'assets', name), code)
    await writeFile(join(dist, page), changed)
  }
}
