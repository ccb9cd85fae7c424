import { globSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { parseDocument, stringify } from 'yaml'
import { loadConfig } from '../../../config/load.ts'
import { configSchema } from '../../../config/schema.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const blocks = globSync(['README.md', 'docs/**/*.md'], { cwd: root }).flatMap((page) =>
  [...readFileSync(`${root}/${page}`, 'utf8').matchAll(/^```yaml\n(.*?)^```$/gms)].map(([, text], at) => ({
    name: `${page}, block ${at + 1}`,
    text: text!,
  })),
)

const members = Object.keys(configSchema.shape)
/** Replaces any key: long enough for a tenant, and in the form of one for encryption. */
const makeKey = (number: number) => number.toString(16).padStart(64, '0')
const models = { '*': {} }
/** The parts that a page leaves out when it shows only some of the file. */
const rest = {
  providers: {
    openai: { kind: 'openai', api_key: makeKey(0), models },
    anthropic: { kind: 'anthropic', api_key: makeKey(0), models },
  },
}

test.each(blocks)('$name is YAML, and configuration where it looks like it', ({ text }) => {
  const document = parseDocument(text)
  expect(document.errors).toEqual([])
  const shown: unknown = document.toJS()
  const names = typeof shown === 'object' && shown !== null ? Object.keys(shown) : []
  if (names.length === 0 || !names.every((name) => members.includes(name))) return
  const variables = [...text.matchAll(/\$\{(\w+)/g)].map(([, name], at) => [name, makeKey(at)])
  const env = { ...Object.fromEntries(variables), REDIS_URL: 'redis://127.0.0.1:6379' }
  const whole = stringify({ ...rest, ...(shown as object) })
  expect(() => loadConfig({ path: 'sluice.yaml', text: whole, env })).not.toThrow()
})

test('most blocks of YAML look like configuration', () => {
  const isConfig = ({ text }: { text: string }) =>
    members.some((name) => new RegExp(`^${name}:`, 'm').test(text))
  expect(blocks.filter(isConfig).length).toBeGreaterThan(5)
})
