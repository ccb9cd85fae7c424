import type { JsonObject } from '../../lib/json.ts'

/** The id of the provider, which no client may see. */
export const providerId = 'resp_of_the_provider'

function textItem(text: string, members: JsonObject = {}): JsonObject {
  return {
    id: 'msg_own',
    type: 'message',
    status: 'completed',
    role: 'assistant',
    content: [{ type: 'output_text', text, annotations: [], logprobs: [] }],
    ...members,
  }
}

/** A response of the provider, with members that no specification has. */
export function responseOf(output: string | JsonObject[], members: JsonObject = {}): JsonObject {
  return {
    id: providerId,
    object: 'response',
    created_at: 1_700_000_000,
    status: 'completed',
    background: false,
    error: null,
    incomplete_details: null,
    instructions: null,
    metadata: {},
    model: 'own-model-2026',
    output: typeof output === 'string' ? [textItem(output)] : output,
    parallel_tool_calls: true,
    previous_response_id: null,
    temperature: 1,
    tool_choice: 'auto',
    tools: [],
    top_p: 1,
    usage: { input_tokens: 3, output_tokens: 4, total_tokens: 7 },
    x_trace: [1, null],
    ...members,
  }
}

/** The events in which the provider streams a text in these pieces, with numbers of its own. */
export function textEvents(pieces: string[], members: JsonObject = {}): JsonObject[] {
  const text = pieces.join('')
  const whole = responseOf(text, members)
  const opening = { ...whole, status: 'in_progress', output: [], usage: null }
  const place = { item_id: 'msg_own', output_index: 0, content_index: 0 }
  const part = (said: string) => ({ type: 'output_text', text: said, annotations: [], logprobs: [] })
  return [
    { type: 'response.created', response: opening },
    { type: 'response.in_progress', response: opening },
    {
      type: 'response.output_item.added',
      output_index: 0,
      item: textItem('', { status: 'in_progress', content: [] }),
    },
    { type: 'response.content_part.added', ...place, part: part('') },
    ...pieces.map((delta) => ({
      type: 'response.output_text.delta',
      ...place,
      delta,
      logprobs: [],
      obfuscation: 'x',
    })),
    { type: 'response.output_text.done', ...place, text, logprobs: [] },
    { type: 'response.content_part.done', ...place, part: part(text) },
    { type: 'response.output_item.done', output_index: 0, item: textItem(text) },
    { type: 'response.completed', response: whole },
  ].map((event, index) => ({ ...event, sequence_number: index + 10 }))
}

/** The events of a stream as they were written, in order. Anything that is not an event or a comment is an error. */
export function parseEvents(text: string): JsonObject[] {
  const blocks = text.replaceAll(/^:.*\n/gm, '').split('\n\n')
  if (blocks.pop() !== '') throw new Error(`the stream ends within an event: ${text}`)
  return blocks.map((block) => {
    const [, name, data] = /^event: ([^\n]+)\ndata: ([^\n]+)$/.exec(block) ?? []
    const event = JSON.parse(data ?? 'null') as JsonObject | null
    if (event === null || event.type !== name) throw new Error(`not an event of its type: ${block}`)
    return event
  })
}
