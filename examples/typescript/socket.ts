/**
 * Submits a chat and follows everything over one WebSocket, until that job has ended. With the cursor of the last event as `after` in
 * place of `now`, another run goes on where this one stopped.
 *
 *   node examples/typescript/socket.ts "Why is the sky blue?"
 */
const {
  SLUICE_URL: url = 'http://127.0.0.1:8080',
  SLUICE_MODEL: model = 'sim/chat-small',
  SLUICE_KEY: key = '',
} = process.env
const question = process.argv[2] ?? 'Why is the sky blue?'

const socket = new WebSocket(`${url.replace(/^http/, 'ws')}/v1/ws`)
const send = (message: object) => socket.send(JSON.stringify(message))
let id: string | undefined
/** Jobs that have ended, by id: events of yours may come before the `accepted` that names it, and those of others come too. */
const ended = new Map()

socket.addEventListener('open', () => {
  send({ type: 'auth', key })
  send({ type: 'subscribe', id: 'everything', all: true, after: 'now' })
  const body = { model, messages: [{ role: 'user', content: question }] }
  send({ type: 'submit', id: 'question', job: { type: 'chat', cache: 'off', body } })
})

socket.addEventListener('message', ({ data }) => {
  const message = JSON.parse(data)
  if (message.type === 'error') throw new Error(message.error.message)
  if (message.type === 'accepted') id = message.job.id
  if (message.type === 'event') {
    console.log(message.cursor, message.event, message.data.job_id)
    if (message.data.job) ended.set(message.data.job_id, message.data.job)
  }
  const job = ended.get(id)
  if (job === undefined) return
  console.log(job.result?.choices[0].message.content ?? job.error.message)
  socket.close()
})

socket.addEventListener('close', ({ code, reason }) => {
  if (code !== 1000 && code !== 1005) throw new Error(`the server closed the socket: ${code} ${reason}`)
})
