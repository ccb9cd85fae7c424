export type JsonToken = { kind: 'name' | 'text' | 'number' | 'word' | 'mark'; text: string }

const pattern = /("(?:[^"\\]|\\.)*")(\s*:)?|(-?\d[\d.eE+-]*)|(true|false|null)|([^"\d\w-]+|.)/g

/** Splits indented JSON into tokens to colour. Joined, they give the same text again, even if it is not JSON. */
export function splitJson(json: string): JsonToken[] {
  const tokens: JsonToken[] = []
  for (const [whole, text, colon, number, word] of json.matchAll(pattern)) {
    if (text !== undefined && colon !== undefined) {
      tokens.push({ kind: 'name', text }, { kind: 'mark', text: colon })
    } else if (text !== undefined) tokens.push({ kind: 'text', text })
    else if (number !== undefined) tokens.push({ kind: 'number', text: number })
    else if (word !== undefined) tokens.push({ kind: 'word', text: word })
    else tokens.push({ kind: 'mark', text: whole })
  }
  return tokens
}
