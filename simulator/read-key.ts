import type { IncomingMessage } from 'node:http'

/** Reads the API key from the headers that OpenAI, Azure, Anthropic and Gemini use; null: none was sent. */
export function readKey({ headers }: Pick<IncomingMessage, 'headers'>): string | null {
  const bearer = /^Bearer (.+)$/i.exec(headers.authorization ?? '')?.[1]
  const other = [headers['api-key'], headers['x-api-key'], headers['x-goog-api-key']].find(
    (value) => typeof value === 'string',
  )
  return bearer ?? (typeof other === 'string' ? other : null)
}
