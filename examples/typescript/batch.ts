/**
 * A batch with the package `openai`: uploads requests, waits, and prints the answers by their names.
 *
 *   node examples/typescript/batch.ts "Name a river." "Name a lake."
 */
import { setTimeout as sleep } from 'node:timers/promises'
import OpenAI, { toFile } from 'openai'

const {
  SLUICE_URL: url = 'http://127.0.0.1:8080',
  SLUICE_MODEL: model = 'sim/chat-small',
  SLUICE_KEY: key = 'none',
} = process.env
const questions = process.argv.length > 2 ? process.argv.slice(2) : ['Name a river.', 'Name a lake.']

const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: key })

const lines = questions.map((content, index) =>
  JSON.stringify({
    custom_id: `question ${index + 1}`,
    method: 'POST',
    url: '/v1/chat/completions',
    body: { model, messages: [{ role: 'user', content }] },
  }),
)
const input = await client.files.create({
  file: await toFile(Buffer.from(lines.join('\n')), 'questions.jsonl'),
  purpose: 'batch',
})
let batch = await client.batches.create({
  input_file_id: input.id,
  endpoint: '/v1/chat/completions',
  completion_window: '24h',
})
console.log(`${batch.id} is ${batch.status}`)

while (!['completed', 'failed', 'expired', 'cancelled'].includes(batch.status)) {
  await sleep(500)
  batch = await client.batches.retrieve(batch.id)
}
const { completed, failed } = batch.request_counts ?? { completed: 0, failed: 0 }
console.log(`${batch.status}: ${completed} answered, ${failed} failed`)
for (const error of batch.errors?.data ?? []) console.log(`line ${error.line}: ${error.message}`)

for (const id of [batch.output_file_id, batch.error_file_id]) {
  if (!id) continue
  const text = await (await client.files.content(id)).text()
  for (const line of text.trim().split('\n')) {
    const { custom_id: name, response, error } = JSON.parse(line)
    const body = response?.body
    console.log(`${name}: ${body?.choices?.[0].message.content ?? body?.error.message ?? error.message}`)
  }
}
