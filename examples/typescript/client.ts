/**
 * The client of `client/` (docs/client.md): an answer, a stream that is left and gone on with, and many jobs at once.
 *
 *   node examples/typescript/client.ts "Why is the sky blue?"
 */
import { type BulkLine, createClient, JobFailedError } from '../../client/index.ts'

const {
  SLUICE_URL: url = 'http://127.0.0.1:8080',
  SLUICE_MODEL: model = 'sim/chat-small',
  SLUICE_KEY: key,
} = process.env
const question = process.argv[2] ?? 'Why is the sky blue?'

type Completion = { choices: { message: { content: string } }[] }
type Chunk = { choices?: { delta?: { content?: string } }[] }

const client = createClient({ url, ...(key && { key }) })
const ask = (content: string, body: object = {}) => ({
  type: 'chat' as const,
  body: { model, messages: [{ role: 'user', content }], ...body },
})

// Submitted and waited for, over whatever happens to connections and servers meanwhile.
try {
  const { choices } = await client.run<Completion>(ask(question), { timeoutMs: 600_000 })
  console.log(choices[0]?.message.content)
} catch (error) {
  if (!(error instanceof JobFailedError)) throw error
  console.log(`${error.job.id} ${error.job.status}: ${error.message}`)
}

// A stream, left after its first words; what is noted suffices to go on from another process.
const { id } = await client.submit({ ...ask(`And then? ${question}`, { stream: true }), cache: 'off' })
let text = ''
let last = ''
for await (const event of client.events(id)) {
  last = event.id
  if (event.type === 'job.delta') text += (event.data.chunk as Chunk).choices?.[0]?.delta?.content ?? ''
  if (text !== '') break
}
for await (const event of client.events(id, { after: last })) {
  if (event.type === 'job.delta') text += (event.data.chunk as Chunk).choices?.[0]?.delta?.content ?? ''
  // What an attempt that failed had streamed is void.
  if (event.type === 'job.retrying') text = ''
  if (event.type === 'job.completed') console.log(`${text}\n$${event.data.job.cost_usd}`)
}

// Many, as they are made: memory holds a thousand of them at the most.
const group = `many-${Date.now()}`
function* makeJobs(): Generator<BulkLine> {
  for (let number = 1; number <= 20; number++) yield { ...ask(`${number}: ${question}`), group }
}
let refused = 0
for await (const answer of client.submitMany(makeJobs())) if ('error' in answer) refused++
for await (const _ of client.events({ group })) {
  // Ends with the last job of the group.
}
const { counts } = await client.group(group)
console.log(`${counts.completed} completed, ${counts.failed} failed, ${refused} refused`)
