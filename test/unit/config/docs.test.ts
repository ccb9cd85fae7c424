import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { buildJsonSchema } from '../../../config/json-schema.ts'

const reference = readFileSync(new URL('../../../docs/configuration.md', import.meta.url), 'utf8')

/** Names and defaults of the members below a node of the JSON Schema, on every level. */
function collectMembers(node: unknown, found: Map<string, Set<unknown>>): void {
  if (typeof node !== 'object' || node === null) return
  for (const [key, value] of Object.entries(node)) {
    if (key === 'properties') {
      for (const [name, member] of Object.entries(value as Record<string, { default?: unknown }>)) {
        found.set(name, (found.get(name) ?? new Set()).add(member.default))
      }
    }
    collectMembers(value, found)
  }
}

const members = new Map<string, Set<unknown>>()
collectMembers(JSON.parse(buildJsonSchema()), members)

test.each([...members.keys()])('the reference describes %s', (name) => {
  expect(reference).toMatch(new RegExp(`(?:\`(?:[a-z_]+\\.)*|### |[ ,])${name}(?:\`|\\.|\\n|,)`))
})

test.each(
  [...members].flatMap(([name, defaults]) =>
    [...defaults]
      .filter((value) => typeof value === 'string' || typeof value === 'number')
      .map((value) => [name, value] as const),
  ),
)('the reference says that %s is %s by default', (name, value) => {
  const rows = reference.split('\n').filter((line) => line.startsWith('|') && line.includes(`${name}\``))
  expect(rows.filter((row) => row.includes(`\`${value}\``))).not.toEqual([])
})
