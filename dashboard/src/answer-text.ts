type Loose = Record<string, unknown>

/** The text that a chunk of a chat or of a response adds; '' if it adds none. */
export function readChunkText(chunk: unknown): string {
  if (!isObject(chunk)) return ''
  if (chunk.type === 'response.output_text.delta') return toText(chunk.delta)
  return toList(chunk.choices)
    .map((choice) => (isObject(choice.delta) ? toText(choice.delta.content) : ''))
    .join('')
}

/** The text of a provider's complete answer; null if it has no text, such as an embedding. */
export function readResultText(result: unknown): string | null {
  if (!isObject(result)) return null
  const chat = toList(result.choices).map(({ message }) => (isObject(message) ? toText(message.content) : ''))
  const response = toList(result.output)
    .flatMap(({ content }) => toList(content))
    .map(({ text }) => toText(text))
  const text = [...chat, ...response].filter((part) => part !== '').join('\n\n')
  return text === '' ? null : text
}

function isObject(value: unknown): value is Loose {
  return typeof value === 'object' && value !== null
}

function toText(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

function toList(value: unknown): Loose[] {
  return Array.isArray(value) ? value.filter(isObject) : []
}
