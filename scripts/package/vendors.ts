import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { rolldown } from 'rolldown'

const root = fileURLToPath(new URL('../..', import.meta.url))

/**
 * Packages that are bundled: installed, they bring types, sources and second builds of 70 MB, and the program runs 6
 * MB of them. All are plain modules that read no files. The others are installed as they are.
 */
const BUNDLED = [
  'openai',
  '@anthropic-ai/sdk',
  '@anthropic-ai/sdk/lib/transform-json-schema',
  '@anthropic-ai/sdk/_vendor/partial-json-parser/parser',
  '@fastify/static',
  '@jmespath-community/jmespath',
  '@opentelemetry/api',
  '@opentelemetry/exporter-trace-otlp-http',
  '@opentelemetry/resources',
  '@opentelemetry/sdk-trace',
  '@prometheus-io/client',
  '@pydantic/genai-prices',
  '@scalar/fastify-api-reference',
  'bullmq',
  'fastify-type-provider-zod',
  'kysely',
  'zod',
]

const IMPORT = /(\bfrom\s*|\bimport\s*\(?\s*)(['"])([^'"]+)\2/g

export function isBundled(dependency: string): boolean {
  return BUNDLED.includes(dependency)
}

/**
 * Bundles them into a folder, with their licences: one file for each name, and their shared code in files of its own.
 */
export async function bundleVendors(folder: string): Promise<void> {
  const entries = new Map<string, string>()
  for (const name of BUNDLED) {
    const names = Object.keys(await import(name)).filter((member) => member !== 'module.exports')
    entries.set(`entry:${name}`, `export { ${names.join(', ')} } from '${name}'\n`)
  }
  const bundle = await rolldown({
    cwd: root,
    platform: 'node',
    input: Object.fromEntries(BUNDLED.map((name) => [toFile(name), `entry:${name}`])),
    external: [
      'fastify',
      '@fastify/swagger',
      'ioredis',
      'undici',
      'ws',
      /^@aws-sdk\//,
      /^@smithy\//,
      'google-auth-library',
    ],
    plugins: [
      {
        name: 'entries',
        resolveId: (id) => (entries.has(id) ? join(root, id) : null),
        load: (id) => entries.get(relative(root, id)) ?? null,
      },
    ],
  })
  const { output } = await bundle.write({
    dir: folder,
    format: 'esm',
    // Only blanks are removed: names stay, so that a stack trace can be read.
    minify: { compress: false, mangle: false, codegen: { removeWhitespace: true } },
    entryFileNames: '[name].js',
  })
  await bundle.close()
  const modules = output.flatMap((file) => (file.type === 'chunk' ? Object.keys(file.modules) : []))
  await mkdir(folder, { recursive: true })
  await writeFile(join(folder, 'LICENSES.md'), await readLicences(modules))
}

/** The code of a module in `folder`, with its imports of bundled packages changed to their files in `vendors`. */
export function pointToVendors(code: string, folder: string, vendors: string): string {
  return code.replace(IMPORT, (whole, before: string, quote: string, name: string) => {
    if (!isBundled(name)) return whole
    const path = relative(folder, join(vendors, `${toFile(name)}.js`)).replaceAll(sep, '/')
    return `${before}${quote}${path.startsWith('.') ? path : `./${path}`}${quote}`
  })
}

function toFile(name: string): string {
  return name.replace(/^@/, '').replaceAll('/', '-')
}

/** The licence of every package that one of the modules belongs to. */
async function readLicences(modules: string[]): Promise<string> {
  const folders = new Set<string>()
  for (const id of modules) {
    const match = /^(.*\/node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(id)
    if (match?.[1]) folders.add(match[1])
  }
  const texts = []
  for (const folder of [...folders].sort()) {
    const { name, version, license } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'))
    const file = (await readdir(folder)).find((entry) => /^licen[cs]e/i.test(entry))
    const text = file === undefined ? '' : `\n${(await readFile(join(folder, file), 'utf8')).trim()}\n`
    texts.push(`## ${name} ${version}: ${license}\n${text}`)
  }
  return `# Packages bundled here, with their licences\n\n${texts.join('\n')}`
}
