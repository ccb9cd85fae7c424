import type { Config } from './schema.ts'

/** What a key that is guessed at has to have. */
const LEAST_BITS = 128
/** A random key of 128 bits has more different characters than this, even one of hex digits. */
const FEWEST_CHARACTERS = 8

const CHARACTERS: { pattern: RegExp; count: number }[] = [
  { pattern: /[0-9]/, count: 10 },
  { pattern: /[a-f]/, count: 6 },
  { pattern: /[g-z]/, count: 20 },
  { pattern: /[A-F]/, count: 6 },
  { pattern: /[G-Z]/, count: 20 },
  { pattern: /[^0-9A-Za-z]/, count: 33 },
]

/**
 * The most bits a plain key can hold, were each character drawn from the kinds that are in it. Words and names hold
 * far less, which no one can see from outside; so this finds keys that are surely weak, and no others.
 */
export function estimateKeyBits(key: string): number {
  if (new Set(key).size < FEWEST_CHARACTERS) return 0
  const seen = CHARACTERS.reduce((sum, { pattern, count }) => sum + (pattern.test(key) ? count : 0), 0)
  // Letters of both cases are base64 or the like, which may lack a digit by chance.
  const alphabet = /[a-z]/.test(key) && /[A-Z]/.test(key) ? Math.max(seen, 62) : seen
  return key.length * Math.log2(alphabet)
}

/** Places of plain tenant keys that cannot hold 128 bits, such as `tenants.acme.keys[0]`. Hashed ones show nothing. */
export function findWeakKeys(config: Pick<Config, 'tenants'>): string[] {
  return Object.entries(config.tenants).flatMap(([name, { keys }]) =>
    keys.flatMap((key, index) =>
      key.startsWith('sha256:') || estimateKeyBits(key) >= LEAST_BITS
        ? []
        : [`tenants.${name}.keys[${index}]`],
    ),
  )
}
