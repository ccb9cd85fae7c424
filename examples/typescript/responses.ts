/**
 * Responses with the package `openai`: in the background, streamed, left, and followed from where they were left.
 *
 *   node examples/typescript/responses.ts "Why is the sky blue?"
 */
import OpenAI from 'openai'

const {
  SLUICE_URL: url = 'http://127.0.0.1:8080',
  SLUICE_MODEL: model = 'sim/chat-small',
  SLUICE_KEY: key,
} = process.env
const input = process.argv[2] ?? 'Why is the sky blue?'

// Attempts are made there.
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: key ?? 'none', maxRetries: 0 })

// Answered at once; the work goes on whether or not anybody waits for it.
let response = await client.responses.create({ model, input, background: true })
console.log(`${response.id} is ${response.status}`)
while (response.status === 'queued' || response.status === 'in_progress') {
  await new Promise((resolve) => setTimeout(resolve, 200))
  response = await client.responses.retrieve(response.id)
}
console.log(`${response.status}: ${response.output_text}`)

// A stream that breaks after a few events, as connections do.
let id = ''
let last = -1
let text = ''
const question = `And then? ${input}`
const stream = await client.responses.create({ model, input: question, background: true, stream: true })
for await (const event of stream) {
  if (event.type === 'response.created') id = event.response.id
  if (event.type === 'response.output_text.delta') text += event.delta
  last = event.sequence_number
  if (text !== '') break
}
console.log(`left after event ${last}`)
const rest = await client.responses.retrieve(id, { stream: true, starting_after: last })
for await (const event of rest) if (event.type === 'response.output_text.delta') text += event.delta
console.log(text)
