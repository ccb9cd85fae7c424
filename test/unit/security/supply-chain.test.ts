import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { z } from 'zod'

const names = z.record(z.string(), z.string()).default({})
const lockSchema = z.object({
  lockfileVersion: z.number(),
  packages: z.record(
    z.string(),
    z.object({
      resolved: z.string().optional(),
      integrity: z.string().optional(),
      license: z.string().optional(),
      dev: z.boolean().default(false),
      optionalDependencies: names,
    }),
  ),
})
const lock = lockSchema.parse(
  JSON.parse(readFileSync(new URL('../../../package-lock.json', import.meta.url), 'utf8')),
)
const packages = Object.entries(lock.packages).filter(([path]) => path !== '')
const nameOf = (path: string) => path.replace(/^.*node_modules\//, '')

/** Where packages without an address come from. */
const REGISTRY = 'https://registry.npmjs.org/'

/** Licences that require only to be named. */
const PERMISSIVE = [
  'MIT',
  'Apache-2.0',
  'ISC',
  'BSD-2-Clause',
  'BSD-3-Clause',
  '0BSD',
  'Unlicense',
  'BlueOak-1.0.0',
  '(MIT OR CC0-1.0)',
  'MIT OR Apache-2.0',
]
/** Licences of tools that never become part of the service: changes to their files must be published. */
const FOR_DEVELOPMENT = ['MPL-2.0']

/**
 * Part of the service, unchanged, under a licence whose conditions cover changes to its own files alone
 * (docs/decisions/0014).
 */
const UNCHANGED = ['node_modules/@jmespath-community/jmespath: MPL-2.0']

/**
 * Builds for other platforms, of which the lockfile may have no more than the name: they have the licence of their
 * package.
 */
const licences = new Map(packages.map(([path, { license }]) => [nameOf(path), license]))
for (const [, { license, optionalDependencies }] of packages) {
  for (const name of Object.keys(optionalDependencies)) {
    if (license !== undefined && licences.get(name) === undefined) licences.set(name, license)
  }
}

test('every package has a licence that permits its use here', () => {
  const wrong = packages.filter(([path, { dev }]) => {
    const licence = licences.get(nameOf(path)) ?? 'none'
    return !PERMISSIVE.includes(licence) && !(dev && FOR_DEVELOPMENT.includes(licence))
  })
  expect(wrong.map(([path]) => `${path}: ${licences.get(nameOf(path))}`)).toEqual(UNCHANGED)
})

test('every package comes from the one registry, and is the one whose hash was written down', () => {
  expect(lock.lockfileVersion).toBe(3)
  const platforms = new Set(
    packages.flatMap(([, { optionalDependencies }]) => Object.keys(optionalDependencies)),
  )
  for (const [path, { resolved = REGISTRY, integrity }] of packages) {
    expect(resolved.startsWith(REGISTRY), path).toBe(true)
    // A build for another platform than that of the lockfile is recorded by name and version alone.
    if (integrity === undefined && platforms.has(nameOf(path))) continue
    expect(integrity, path).toMatch(/^sha512-/)
  }
})
