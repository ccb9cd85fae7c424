import type { Config } from './schema.ts'

/** Minimum that resists guessing. */
const LEAST_BITS = 128
/** A random key of 128 bits has more different characters than this, even in hex. */
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
 * Upper bound of the entropy of a plain key in bits, as if each character were random among the kinds of characters in the key. Words and
 * names have far less, which cannot be measured. So this finds only keys that are certainly weak.
 */
export function estimateKeyBits(key: string): number {
  if (new Set(key).size < FEWEST_CHARACTERS) return 0
  const seen = CHARACTERS.reduce((sum, { pattern, count }) => sum + (pattern.test(key) ? count : 0), 0)
  // Letters of both cases suggest base64 or similar, which may lack digits by chance.
  const alphabet = /[a-z]/.test(key) && /[A-Z]/.test(key) ? Math.max(seen, 62) : seen
  return key.length * Math.log2(alphabet)
}

/** Paths of plain tenant keys that cannot have 128 bits, such as `tenants.acme.keys[0]`. Hashed keys cannot be checked. */
export function findWeakKeys(config: Pick<Config, 'tenants'>): string[] {
  return Object.entries(config.tenants).flatMap(([name, { keys }]) =>
    keys.flatMap((key, index) =>
      key.startsWith('sha256:') || estimateKeyBits(key) >= LEAST_BITS
        ? []
        : [`tenants.${name}.keys[${index}]`],
    ),
  )
}
