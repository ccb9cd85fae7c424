/**
 * The named secrets that a text has, and in which form: as it is, as base64 wherever the secret begins in the encoded
 * bytes, and as the lists of bytes and hex of printed Buffers. `['prompt in base64']`; empty: none.
 */
export function findForms(text: string, secrets: Readonly<Record<string, string>>): string[] {
  const found: string[] = []
  for (const [name, secret] of Object.entries(secrets)) {
    for (const [form, pieces] of Object.entries(formsOf(secret))) {
      if (pieces.some((piece) => text.includes(piece))) found.push(`${name} ${form}`)
    }
  }
  return found
}

function formsOf(secret: string): Record<string, string[]> {
  const bytes = Buffer.from(secret)
  return {
    'as it is': [secret],
    'in base64': [0, 1, 2].flatMap((shift) => toBase64(bytes, shift)),
    'as bytes': [[...bytes].join(','), [...bytes].join(', ')],
    'in hex': [bytes.toString('hex'), bytes.toString('hex').replaceAll(/..(?!$)/g, '$& ')],
  }
}

/**
 * The characters that do not depend on what is before and behind, for each of the three offsets at which a secret may
 * begin.
 */
function toBase64(bytes: Buffer, shift: number): string[] {
  const whole = Buffer.concat([Buffer.alloc(shift), bytes])
  const from = shift === 0 ? 0 : 4
  const until = Math.floor(whole.length / 3) * 4
  return (['base64', 'base64url'] as const).map((encoding) => whole.toString(encoding).slice(from, until))
}
