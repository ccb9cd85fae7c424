import { describe, expect, it } from 'vitest'
import type { Job } from '../../../jobs/job.ts'
import { acmeKey } from '../../helpers/api.ts'
import { answer, chunk, completion, openEvents, type UpstreamCall } from '../../helpers/upstream.ts'
import { type BudgetHouse, openBudgetHouse } from './house.ts'

const model = 'own/chat'
const price = { input: 1, output: 10, image: 0.04, audio_second: 0.001 }
/** 100 tokens at four bytes each, and what they cost. */
const text = 'x'.repeat(400)
const inputUsd = 100 / 1e6
/** 40 tokens of an answer. */
const pieces = Array.from({ length: 10 }, () => 'y'.repeat(16))
const streamedUsd = inputUsd + (40 * 10) / 1e6
const messages = [{ role: 'user', content: text }]

/** Begins an answer in the form of the endpoint, and never ends it. */
function beginStream({ path }: UpstreamCall, response: Parameters<typeof openEvents>[0]): void {
  const events = openEvents(response)
  const send = (list: unknown[]) => list.forEach((one) => void events.send(one))
  if (path.endsWith('/responses')) {
    send([
      {
        type: 'response.created',
        sequence_number: 0,
        response: { id: 'resp_1', status: 'in_progress', output: [] },
      },
    ])
    send(
      pieces.map((delta, at) => ({
        ...{ type: 'response.output_text.delta', sequence_number: at + 1 },
        ...{ item_id: 'msg_1', output_index: 0, content_index: 0, delta },
      })),
    )
  } else if (path.endsWith('/images/generations')) {
    const picture = { b64_json: 'iVBORw0KGgo=', partial_image_index: 0 }
    send([{ type: 'image_generation.partial_image', ...picture }])
  } else if (path.endsWith('/audio/speech')) {
    send([{ type: 'speech.audio.delta', audio: 'AAAA' }])
  } else if (path.endsWith('/audio/transcriptions')) {
    send(pieces.map((delta) => ({ type: 'transcript.text.delta', delta })))
  } else {
    send(pieces.map((content) => chunk({ content })))
  }
}

/** `isWhole`: it answers in one piece, so its client leaves before that. */
type Door = {
  name: string
  path: string
  body: () => object | FormData
  costs: (job: Job) => void
  isWhole?: true
}

const exactly = (usd: number) => (job: Job) => expect(job.cost_usd).toBeCloseTo(usd, 9)
const atLeast = (usd: number) => (job: Job) => expect(job.cost_usd).toBeGreaterThanOrEqual(usd)

function recording(): FormData {
  const form = new FormData()
  form.set('model', model)
  form.set('stream', 'true')
  form.set('file', new Blob([Buffer.alloc(32_000)], { type: 'audio/wav' }), 'a.wav')
  return form
}

const doors: Door[] = [
  {
    name: 'chat completions',
    path: '/v1/chat/completions',
    body: () => ({ model, messages, stream: true }),
    costs: exactly(streamedUsd),
  },
  {
    name: "Azure's paths",
    path: `/openai/deployments/${encodeURIComponent(model)}/chat/completions?api-version=2024-10-21`,
    body: () => ({ messages, stream: true }),
    costs: exactly(streamedUsd),
  },
  {
    name: 'completions',
    path: '/v1/completions',
    body: () => ({ model, prompt: text, stream: true, max_tokens: 500 }),
    costs: exactly(streamedUsd),
  },
  {
    name: 'responses',
    path: '/v1/responses',
    body: () => ({ model, input: text, stream: true }),
    costs: exactly(streamedUsd),
  },
  {
    name: "Anthropic's messages",
    path: '/v1/messages',
    body: () => ({ model, messages, stream: true, max_tokens: 500 }),
    costs: exactly(streamedUsd),
  },
  {
    name: 'pictures',
    path: '/v1/images/generations',
    body: () => ({ model, prompt: text, n: 2, stream: true, partial_images: 1 }),
    costs: atLeast(0.08),
  },
  {
    name: 'speech',
    path: '/v1/audio/speech',
    body: () => ({ model, input: text, voice: 'alloy', stream_format: 'sse' }),
    costs: atLeast(inputUsd),
    isWhole: true,
  },
  {
    name: 'a chat in one piece',
    path: '/v1/chat/completions',
    body: () => ({ model, messages, max_tokens: 500 }),
    // All of it may be written by then: the reservation is booked.
    costs: exactly(inputUsd + 5000 / 1e6),
    isWhole: true,
  },
  {
    name: 'transcriptions',
    path: '/v1/audio/transcriptions',
    body: recording,
    costs: atLeast((40 * 10) / 1e6),
  },
]

describe('a stream that its client leaves half-way is paid for', () => {
  async function leave(house: BudgetHouse, door: Door): Promise<void> {
    const leaving = new AbortController()
    const body = door.body()
    const isForm = body instanceof FormData
    const calls = house.upstream.calls.length
    const asked = fetch(house.url + door.path, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${acmeKey}`,
        ...(isForm ? {} : { 'content-type': 'application/json' }),
      },
      body: isForm ? body : JSON.stringify(body),
      signal: leaving.signal,
    })
    if (door.isWhole) {
      asked.catch(() => {}) // The client leaves it.
      await expect.poll(() => house.upstream.calls.length, { timeout: 20_000 }).toBe(calls + 1)
    } else await readPieces(await asked, door.path.includes('/images/') ? 1 : pieces.length)
    leaving.abort()
    await house.upstream.broken()
  }

  it('by every API: as an estimate, and from the budget', async () => {
    const house = await openBudgetHouse({ budget: 10, price, provider: { kind: 'openai' } })
    let spent = 0
    for (const door of doors) {
      house.upstream.script = door.isWhole ? () => {} : beginStream
      await leave(house, door)
      const newest = async () => (await house.get<{ data: Job[] }>('/v1/jobs?limit=1')).data[0]!
      // Until its worker has reported the pieces, the reservation is booked.
      await expect
        .poll(async () => (await house.attempts((await newest()).id))[0], { timeout: 20_000 })
        .toMatchObject({ outcome: 'aborted', cost_is_estimate: true })
      const job = await newest()
      expect(job, door.name).toMatchObject({ status: 'cancelled', cost_is_estimate: true })
      door.costs(job)
      spent = Math.round((spent + job.cost_usd!) * 1e9) / 1e9
      await expect.poll(house.money, { timeout: 20_000 }).toEqual({ spent, reserved: 0 })
    }
  })

  it('and a stream of events that is left does not end its job, which keeps its cost', async () => {
    const house = await openBudgetHouse({ budget: 10, price })
    let end = () => {}
    house.upstream.script = (_call, response) => {
      end = () =>
        answer(response, 200, completion('hi', {}, { usage: { prompt_tokens: 100, completion_tokens: 4 } }))
    }
    const { id } = await house.submit(text)
    const leaving = new AbortController()
    const headers = { authorization: `Bearer ${acmeKey}` }
    const stream = await fetch(`${house.url}/v1/jobs/${id}/events`, { headers, signal: leaving.signal })
    const reader = stream.body!.getReader()
    let received = ''
    while (!received.includes('job.started'))
      received += new TextDecoder().decode((await reader.read()).value)
    leaving.abort()
    await expect.poll(() => house.upstream.calls.length).toBe(1)
    end()
    expect(await house.ended(id)).toMatchObject({
      status: 'completed',
      cost_usd: 140 / 1e6,
      cost_is_estimate: false,
    })
    await expect.poll(house.money, { timeout: 20_000 }).toEqual({ spent: 140 / 1e6, reserved: 0 })
  })
})

/** Reads a stream until so many pieces of it came. */
async function readPieces(response: Response, count: number): Promise<void> {
  if (response.status !== 200) throw new Error(await response.text())
  const reader = response.body!.getReader()
  let received = ''
  while (received.split(/y{16}|iVBOR/).length <= count) {
    const { value, done } = await reader.read()
    if (done) throw new Error(`the answer ended: ${received}`)
    received += new TextDecoder().decode(value)
  }
}
