import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import type { JsonObject, JsonValue } from '../../../lib/json.ts'
import { countPrompt } from '../../../providers/count-tokens.ts'

/** A megabyte of media as requests carry them. */
const data = randomBytes(750_000).toString('base64')
const lines = data.replace(/.{76}/g, '$&\r\n')
const urlOf = (type: string) => `data:${type};base64,${data}`

const user = (...content: JsonValue[]): JsonObject => ({ messages: [{ role: 'user', content }] })
const input = (...content: JsonValue[]): JsonObject => ({ input: [{ role: 'user', content }] })

describe('a megabyte of media is not 250,000 tokens', () => {
  const cases: [string, 'chat' | 'response' | 'embedding', JsonObject][] = [
    ['a picture of a chat', 'chat', user({ type: 'image_url', image_url: { url: urlOf('image/png') } })],
    ['a picture as a text', 'chat', user({ type: 'image_url', image_url: urlOf('image/png') })],
    ['sound of a chat', 'chat', user({ type: 'input_audio', input_audio: { data, format: 'wav' } })],
    ['sound by its URL', 'chat', user({ type: 'audio_url', audio_url: { url: urlOf('audio/mpeg') } })],
    ['a film', 'chat', user({ type: 'video_url', video_url: { url: urlOf('video/mp4') } })],
    [
      'a file of a chat',
      'chat',
      user({ type: 'file', file: { filename: 'a.pdf', file_data: urlOf('application/pdf') } }),
    ],
    ['a file without its type', 'chat', user({ type: 'file', file: { file_data: data } })],
    [
      'a picture of Anthropic',
      'chat',
      user({ type: 'image', source: { type: 'base64', media_type: 'image/jpeg', data } }),
    ],
    [
      'a document of Anthropic',
      'chat',
      user({ type: 'document', source: { type: 'base64', media_type: 'application/pdf', data } }),
    ],
    [
      'a picture in the result of a tool',
      'chat',
      user({
        type: 'tool_result',
        content: [{ type: 'image', source: { type: 'base64', media_type: 'image/png', data } }],
      }),
    ],
    ['a part of Gemini', 'chat', user({ inline_data: { mime_type: 'image/png', data } })],
    ['a part of Gemini in its other spelling', 'chat', user({ inlineData: { mimeType: 'audio/mp3', data } })],
    ['base64 in lines', 'chat', user({ type: 'file', file: { file_data: lines } })],
    ['base64 in a member that nobody knows', 'chat', user({ type: 'scan', scan: { pixels: lines } })],
    ['a data URL in a member that nobody knows', 'chat', user({ type: 'scan', scan: urlOf('image/webp') })],
    ['a picture of Responses', 'response', input({ type: 'input_image', image_url: urlOf('image/png') })],
    [
      'a file of Responses',
      'response',
      input({ type: 'input_file', filename: 'a.pdf', file_data: urlOf('application/pdf') }),
    ],
    ['sound of Responses', 'response', input({ type: 'input_audio', input_audio: { data, format: 'mp3' } })],
    [
      'a screenshot',
      'response',
      { input: [{ type: 'computer_call_output', output: { image_url: urlOf('image/png') } }] },
    ],
    ['a picture that was made', 'response', { input: [{ type: 'image_generation_call', result: data }] }],
    [
      'the mask of a tool',
      'response',
      {
        input: 'draw',
        tools: [{ type: 'image_generation', input_image_mask: { image_url: urlOf('image/png') } }],
      },
    ],
    ['a picture to embed', 'embedding', { input: urlOf('image/png') }],
    ['one of several to embed', 'embedding', { input: ['a', urlOf('image/png')] }],
    ['an object to embed', 'embedding', { input: [{ image: data }, { text: 'a' }] }],
  ]
  it.each(cases)('%s', (_, type, body) => {
    const tokens = countPrompt(type, body)
    expect(tokens).toBeGreaterThan(100)
    expect(tokens).toBeLessThan(5_000)
  })

  it('and two pictures count twice', () => {
    const picture = { type: 'image_url', image_url: { url: urlOf('image/png') } }
    expect(countPrompt('chat', user(picture, picture))).toBe(2 * countPrompt('chat', user(picture)))
  })
})

describe('text is counted as text', () => {
  const cases: [string, JsonObject][] = [
    ['prose', user({ type: 'text', text: 'some words '.repeat(400) })],
    ['one long word', user({ type: 'text', text: 'x'.repeat(4400) })],
    ['base64 that a model has to read', user({ type: 'text', text: data.slice(0, 4400) })],
    [
      'a plain document',
      user({
        type: 'document',
        source: { type: 'text', media_type: 'text/plain', data: 'some words '.repeat(400) },
      }),
    ],
    ['a member that nobody knows', user({ type: 'note', note: 'some words '.repeat(400) })],
  ]
  it.each(cases)('%s', (_, body) => expect(countPrompt('chat', body)).toBeGreaterThanOrEqual(1100))
})
