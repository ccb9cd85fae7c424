import { spawnSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { type Ask, toBody, writeSnippets } from '../../../dashboard/src/snippets.ts'

const url = 'http://127.0.0.1:8080/sluice'

/** Texts that need care in each of the languages. */
const texts = [
  'Name a river.',
  `it's "quoted" \\ and \`ticked\``,
  '$(echo no) ${KEY} $KEY !! %s',
  'two\nlines\t# no comment\n- no: list',
  'ünïcödé 🚣 \u2028 \u0000 \ud83d',
  '{"json": [1, null]}',
  "'''",
]
const asks: Ask[] = texts.flatMap((prompt, index) => [
  { kind: 'chat', model: 'openai/small', system: texts[index - 1] ?? '', prompt, maxTokens: 200 },
  { kind: 'embedding', model: `o'x/"${index}"`, system: '', prompt, maxTokens: null },
])

const snippet = (ask: Ask, name: string) => writeSnippets(ask, url).find((one) => one.name === name)!.text
const wellFormed = asks.filter(({ prompt, system }) => (prompt + system).isWellFormed())

test('the snippet in YAML is the job', () => {
  for (const ask of wellFormed)
    expect(parse(snippet(ask, 'YAML'))).toEqual({ type: ask.kind, body: toBody(ask) })
})

test('the snippet for a shell sends the body to the address', () => {
  for (const ask of wellFormed) {
    // Replaces curl: it prints its arguments, with a NUL after each.
    const script = `curl() { for one; do printf '%s\\000' "$one"; done; }\n${snippet(ask, 'curl')}`
    const { stdout, stderr } = spawnSync('sh', ['-c', script], { env: { KEY: 'k1' }, encoding: 'utf8' })
    const given = stdout.split('\0')
    expect(stderr).toBe('')
    expect(given[1]).toBe(`${url}/v1/${ask.kind === 'chat' ? 'chat/completions' : 'embeddings'}`)
    expect(given).toContain('Authorization: Bearer k1')
    expect(JSON.parse(given.at(-2)!)).toEqual(toBody(ask))
  }
})

test('the snippet in TypeScript calls the client with the body', async () => {
  for (const ask of asks) {
    const calls: object[] = []
    const create = async (body: object) => {
      calls.push(body)
      return Object.assign([{ choices: [] }], { data: [{ embedding: [1] }] })
    }
    class OpenAI {
      constructor(options: object) {
        calls.push(options)
      }
      chat = { completions: { create } }
      embeddings = { create }
    }
    const [head, ...lines] = snippet(ask, 'TypeScript').split('\n')
    expect(head).toBe("import OpenAI from 'openai'")
    const AsyncFunction = (async () => {}).constructor as FunctionConstructor
    const quiet = { log() {} }
    const environment = { env: { KEY: 'k1' }, stdout: { write() {} } }
    await new AsyncFunction('OpenAI', 'process', 'console', lines.join('\n'))(OpenAI, environment, quiet)
    expect(calls).toEqual([{ baseURL: `${url}/v1`, apiKey: 'k1' }, toBody(ask)])
  }
})

const hasPython = spawnSync('python3', ['--version']).status === 0

test.runIf(hasPython)('the snippet in Python calls the client with the body', () => {
  // Replaces the package: it keeps its arguments.
  const harness = `
import json, sys, types
calls = []
class Answer(list):
    data = [types.SimpleNamespace(embedding=[1])]
def create(**body):
    calls.append(body)
    return Answer()
def OpenAI(**options):
    calls.append(options)
    resource = types.SimpleNamespace(create=create)
    return types.SimpleNamespace(chat=types.SimpleNamespace(completions=resource), embeddings=resource)
sys.modules["openai"] = types.SimpleNamespace(OpenAI=OpenAI)
sys.stdout, out = open("/dev/null", "w"), sys.stdout
for code in json.load(sys.stdin):
    exec(code, {})
json.dump(calls, out)
`
  const { stdout, stderr } = spawnSync('python3', ['-c', harness], {
    input: JSON.stringify(asks.map((ask) => snippet(ask, 'Python'))),
    env: { ...process.env, KEY: 'k1' },
    encoding: 'utf8',
  })
  expect(stderr).toBe('')
  const wanted = asks.flatMap((ask) => [{ base_url: `${url}/v1`, api_key: 'k1' }, toBody(ask)])
  expect(JSON.parse(stdout)).toEqual(wanted)
})
