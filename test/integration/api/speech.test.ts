import { expect, it, onTestFinished } from 'vitest'
import { createTestApi } from '../../helpers/api.ts'

const sound = Buffer.alloc(50_001, 'b')

it.each(['bytes', 'events'])(
  'a speech that breaks off before a byte of it was read is answered from the file of the next attempt, as %s',
  async (form) => {
    const api = await createTestApi()
    onTestFinished(() => api.close())
    const { app, deps, worker } = api
    const answer = app.inject({
      method: 'POST',
      url: '/v1/audio/speech',
      payload: {
        ...{ model: 'openai/small', voice: 'alloy', input: 'hello' },
        ...(form === 'events' ? { stream_format: 'sse' } : {}),
      },
    })
    const first = await worker.next()
    // Its worker lost the job, and deleted the piece before the API read it.
    const chunk = { type: 'speech.audio.delta', from: 0, bytes: 3, content_type: 'audio/mpeg' }
    await worker.stream(first, [{ ...chunk, live_id: deps.store.files.newId(), part: 0 }])
    await worker.retry(first, Date.now())

    const id = deps.store.files.newId()
    const file = { filename: 'speech.mp3', purpose: 'job_output', expiresAt: null }
    await deps.store.files.put('default', id, file, sound)
    const entry = { file_id: id, content_type: 'audio/mpeg', bytes: sound.length }
    await worker.complete(await worker.next(), { result: { data: [entry] } })

    const { statusCode, headers, rawPayload, payload } = await answer
    expect(statusCode).toBe(200)
    if (form === 'bytes') {
      expect(headers).toMatchObject({ 'content-type': 'audio/mpeg', 'content-length': String(sound.length) })
      expect(rawPayload.equals(sound)).toBe(true)
    } else {
      const pieces = [...payload.matchAll(/"audio":"([^"]*)"}/g)].map((found) => found[1]!)
      expect(Buffer.from(pieces.join(''), 'base64').equals(sound)).toBe(true)
      expect(payload).toContain('event: speech.audio.done')
    }
  },
)
