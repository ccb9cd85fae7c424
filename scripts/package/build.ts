import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { cp, glob, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { bundleVendors, isBundled, pointToVendors } from './vendors.ts'

const run = promisify(execFile)
const root = fileURLToPath(new URL('../..', import.meta.url))

/** Files that the program reads at run time and the compiler leaves out. */
const DATA = ['*/lua/**/*.lua', 'lib/*.lua', '*/migrations/**/*.sql']
/** Copied unchanged. */
export const FILES = [
  'LICENSE',
  'README.md',
  'CHANGELOG.md',
  'sluice.example.yaml',
  'sluice.schema.json',
  'dashboard/dist',
  'scripts/exit-with-parent.mjs',
]

/** The built site of docs/. */
const SITE = 'site/dist'

/**
 * Writes the package into a folder, which then has nothing else in it. Each module is JavaScript at the same path as
 * in the repository, because modules find scripts, migrations and threads beside themselves.
 */
export async function buildPackage(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true })
  await mkdir(folder, { recursive: true })
  if (!existsSync(join(root, 'dashboard/dist/index.html'))) await runNode('scripts/build.ts')
  await runNode('node_modules/typescript/bin/tsc', '-p', 'scripts/package', '--outDir', folder)
  for (const file of FILES) await cp(join(root, file), join(folder, file), { recursive: true })
  for await (const file of glob(DATA, { cwd: root })) {
    if (file.startsWith('test/') || file.startsWith('node_modules/')) continue
    await cp(join(root, file), join(folder, file))
  }
  // The site takes half a minute to build, so scripts/package.ts does that; a package without it says how.
  if (existsSync(join(root, SITE, 'index.html')))
    await cp(join(root, SITE), join(folder, SITE), { recursive: true })
  await cp(join(root, 'scripts/package/command.mjs'), join(folder, 'bin/sluice.mjs'))
  await bundleVendors(join(folder, 'vendor'))
  for await (const file of glob('**/*.js', { cwd: folder })) {
    if (['vendor/', 'dashboard/', 'site/'].some((folder) => file.startsWith(folder))) continue
    const path = join(folder, file)
    await writeFile(path, pointToVendors(await readFile(path, 'utf8'), dirname(path), join(folder, 'vendor')))
  }
  await writeManifest(folder)
}

/** Packs the folder as npm does; answers the path of the archive. */
export async function packPackage(folder: string, destination: string): Promise<string> {
  const { stdout } = await run('npm', ['pack', '--json', '--pack-destination', destination], { cwd: folder })
  const [packed] = Object.values<{ filename: string }>(JSON.parse(stdout))
  if (packed === undefined) throw new Error(`npm pack said: ${stdout}`)
  return join(destination, packed.filename)
}

async function writeManifest(folder: string): Promise<void> {
  const manifest = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
  const { name, version, description, license, type, engines } = manifest
  const dependencies = Object.fromEntries(
    Object.entries(manifest.dependencies).filter(([dependency]) => !isBundled(dependency)),
  )
  const packaged = {
    name,
    version,
    description,
    license,
    type,
    bin: { sluice: 'bin/sluice.mjs' },
    engines,
    dependencies,
  }
  await writeFile(join(folder, 'package.json'), `${JSON.stringify(packaged, null, 2)}\n`)
}

async function runNode(...args: string[]): Promise<void> {
  await run(process.execPath, args, { cwd: root }).catch((error: { stdout?: string; stderr?: string }) => {
    throw new Error(`${args[0]} failed:\n${error.stdout}${error.stderr}`)
  })
}
