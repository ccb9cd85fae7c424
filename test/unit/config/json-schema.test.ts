import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { z } from 'zod'
import { buildJsonSchema } from '../../../config/json-schema.ts'

const read = (name: string): string => readFileSync(new URL(`../../../${name}`, import.meta.url), 'utf8')

describe('the published JSON Schema', () => {
  const schema = z.fromJSONSchema(JSON.parse(buildJsonSchema()))

  test('is what the schema of the program says; else run npm run schema', () => {
    expect(read('sluice.schema.json')).toBe(buildJsonSchema())
  })

  test('accepts the example with its variables in it', () => {
    expect(schema.safeParse(parse(read('sluice.example.yaml'))).error).toBeUndefined()
  })

  test.each<[string, unknown]>([
    ['a number', { server: { port: `\${PORT}` } }],
    [
      'a number or a word',
      {
        providers: {
          one: { kind: 'openai', api_key: 'k', models: { m: { limits: { max_concurrency: `\${CALLS}` } } } },
        },
      },
    ],
    [
      'a word or a duration',
      {
        providers: {
          one: { kind: 'openai', api_key: 'k', models: { m: { limits: { window: `\${WINDOW}` } } } },
        },
      },
    ],
    ['a word or a mapping', { history: `\${HISTORY}` }],
  ])('allows a variable for %s', (_name, part) => {
    const good = { providers: { one: { kind: 'openai', api_key: 'k', models: { m: {} } } } }
    expect(schema.safeParse({ ...good, ...(part as object) }).error).toBeUndefined()
  })

  test.each<[string, unknown]>([
    ['an unknown section', { quue: {} }],
    ['a duration without a unit', { jobs: { retain: '7' } }],
    ['a word for a number', { server: { port: 'http' } }],
    ['an unknown kind', { providers: { one: { kind: 'other', api_key: 'k', models: { m: {} } } } }],
    ['a missing key', { providers: { one: { kind: 'openai', models: { m: {} } } } }],
  ])('refuses %s', (_name, part) => {
    const good = { providers: { one: { kind: 'openai', api_key: 'k', models: { m: {} } } } }
    expect(schema.safeParse(good).success).toBe(true)
    expect(schema.safeParse({ ...good, ...(part as object) }).success).toBe(false)
  })

  test('describes every member', () => {
    const bare: string[] = []
    const visit = (node: unknown, path: string): void => {
      if (typeof node !== 'object' || node === null) return
      for (const [key, value] of Object.entries(node)) {
        if (key === 'properties') {
          for (const [name, member] of Object.entries(value as Record<string, { description?: string }>)) {
            if (!member.description) bare.push(`${path}.${name}`)
          }
        }
        visit(value, `${path}.${key}`)
      }
    }
    visit(JSON.parse(buildJsonSchema()), '')
    expect(bare).toEqual([])
  })
})
