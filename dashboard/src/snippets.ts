/** A request of the playground. */
export type Ask = {
  kind: 'chat' | 'embedding'
  model: string
  /** The system prompt of a chat; '': none. */
  system: string
  prompt: string
  /** The token limit of a chat; null: the provider's default. */
  maxTokens: number | null
}

type Value = string | number | boolean | Value[] | { [name: string]: Value }

/** The body that the provider gets. A chat is streamed. */
export function toBody({ kind, model, system, prompt, maxTokens }: Ask): { [name: string]: Value } {
  if (kind === 'embedding') return { model, input: prompt }
  return {
    model,
    messages: [
      ...(system === '' ? [] : [{ role: 'system', content: system }]),
      { role: 'user', content: prompt },
    ],
    ...(maxTokens === null ? {} : { max_completion_tokens: maxTokens }),
    stream: true,
  }
}

/** The same request as code for several tools, ready to run. `url` is the server's, without `/v1`. */
export function writeSnippets(ask: Ask, url: string): { name: string; text: string; note: string }[] {
  const body = toBody(ask)
  return [
    { name: 'curl', text: writeCurl(ask, body, url), note: 'In a shell, with your key in KEY.' },
    {
      name: 'Python',
      text: writePython(ask, body, url),
      note: 'With the package openai, and your key in KEY.',
    },
    {
      name: 'TypeScript',
      text: writeTypeScript(ask, body, url),
      note: 'With the package openai, and your key in KEY.',
    },
    {
      name: 'YAML',
      text: `${writeYaml({ type: ask.kind, body }, 0)}\n`,
      note: 'As the job of a schedule in sluice.yaml, or of a step of a flow.',
    },
  ]
}

const pathOf = ({ kind }: Ask) => (kind === 'chat' ? '/v1/chat/completions' : '/v1/embeddings')

function writeCurl(ask: Ask, body: Value, url: string): string {
  const quote = (text: string) => `'${text.replaceAll("'", "'\\''")}'`
  return `curl -sSN ${quote(url + pathOf(ask))} \\
  -H "Authorization: Bearer $KEY" -H 'Content-Type: application/json' \\
  -d ${quote(JSON.stringify(body, null, 2))}
`
}

function writePython(ask: Ask, body: { [name: string]: Value }, url: string): string {
  const members = Object.entries(body).map(([name, value]) => `    ${name}=${toPython(value, 1)},\n`)
  const call = ask.kind === 'chat' ? 'chat.completions' : 'embeddings'
  const rest =
    ask.kind === 'chat'
      ? `for chunk in answer:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
`
      : 'print(len(answer.data[0].embedding), "numbers")\n'
  return `import os
from openai import OpenAI

client = OpenAI(base_url=${toPython(`${url}/v1`, 0)}, api_key=os.environ["KEY"])
answer = client.${call}.create(
${members.join('')})
${rest}`
}

function writeTypeScript(ask: Ask, body: Value, url: string): string {
  const call = ask.kind === 'chat' ? 'chat.completions' : 'embeddings'
  const rest =
    ask.kind === 'chat'
      ? `for await (const chunk of answer) process.stdout.write(chunk.choices[0]?.delta.content ?? '')
`
      : "console.log(answer.data[0].embedding.length, 'numbers')\n"
  return `import OpenAI from 'openai'

const client = new OpenAI({ baseURL: ${JSON.stringify(`${url}/v1`)}, apiKey: process.env.KEY })
const answer = await client.${call}.create(${JSON.stringify(body, null, 2)})
${rest}`
}

/** A JSON string is also a valid Python string. */
function toPython(value: Value, depth: number): string {
  if (typeof value === 'boolean') return value ? 'True' : 'False'
  if (typeof value !== 'object') return JSON.stringify(value)
  const [open, close] = Array.isArray(value) ? '[]' : '{}'
  const inner = '    '.repeat(depth + 1)
  const lines = Array.isArray(value)
    ? value.map((one) => toPython(one, depth + 1))
    : Object.entries(value).map(([name, one]) => `${JSON.stringify(name)}: ${toPython(one, depth + 1)}`)
  return `${open}\n${lines.map((line) => `${inner}${line},\n`).join('')}${'    '.repeat(depth)}${close}`
}

/** A JSON string is also a valid YAML string. */
function writeYaml(value: Value, depth: number): string {
  if (typeof value !== 'object') return JSON.stringify(value)
  const indent = '  '.repeat(depth)
  if (Array.isArray(value)) {
    return value.map((one) => `${indent}- ${writeYaml(one, depth + 1).trimStart()}`).join('\n')
  }
  return Object.entries(value)
    .map(([name, one]) =>
      typeof one === 'object'
        ? `${indent}${name}:\n${writeYaml(one, depth + 1)}`
        : `${indent}${name}: ${JSON.stringify(one)}`,
    )
    .join('\n')
}
