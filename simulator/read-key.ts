import type { IncomingMessage } from 'node:http'

/** The API key as OpenAI, Azure, Anthropic and Gemini are sent it; null: none came. */
export function readKey({ headers }: Pick<IncomingMessage, 'headers'>): string | null {
  const bearer = /^Bearer (.+)$/i.exec(headers.authorization ?? '')?.[1]
  const other = [headers['api-key'], headers['x-api-key'], headers['x-goog-api-key']].find(
    (value) => typeof value === 'string',
  )
  return bearer ?? (typeof other === 'string' ? other : null)
}
