import fc, { type Arbitrary } from 'fast-check'
import type { JsonObject, JsonValue } from '../../lib/json.ts'

type Schemas = Record<string, JsonObject>

/** How deep a schema is followed; below that comes any JSON. */
const DEPTH = 5

/** Texts that have broken parsers, logs, headers and stores before. */
const NASTY_TEXTS = [
  '',
  ' ',
  '\0',
  '\r\nx-injected: 1',
  '\u001b[31m',
  '\ud800',
  '\u2028',
  '__proto__',
  'constructor',
  '{t:acme}:job:1',
  '*',
  '../../etc/passwd',
  '%00%0a',
  '{{7*7}}',
  'a'.repeat(2_000),
  '9'.repeat(400),
  'NaN',
  '0x10',
  '-1',
  '2026-13-45T99:99:99Z',
  '275760-09-13T00:00:00.001Z',
  'https://[::1',
]
const NASTY_NUMBERS = [0, -0, -1, 0.1, 1e308, -1e308, 5e-324, 2 ** 31, 2 ** 53, 1e21]

export const nastyText: Arbitrary<string> = fc.oneof(
  fc.constantFrom(...NASTY_TEXTS),
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.string({ maxLength: 40 }),
)

const wild = fc.oneof(
  { weight: 4, arbitrary: nastyText },
  { weight: 2, arbitrary: fc.constantFrom(...NASTY_NUMBERS) },
  { weight: 1, arbitrary: fc.boolean() },
  { weight: 1, arbitrary: fc.constant(null) },
  { weight: 1, arbitrary: fc.constantFrom<JsonValue>([], {}, [[]], [null], { a: {} }) },
  { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 3 }) },
) as Arbitrary<JsonValue>

/** Values that a JSON Schema accepts, approximately: what it leaves open is filled with anything. */
export function fromSchema(schema: JsonObject, schemas: Schemas, depth = DEPTH): Arbitrary<JsonValue> {
  const follow = (next: unknown) => fromSchema((next ?? {}) as JsonObject, schemas, depth - 1)
  const reference = typeof schema.$ref === 'string' ? schemas[schema.$ref.split('/').at(-1)!] : undefined
  if (reference) return fromSchema(reference, schemas, depth)
  if (depth === 0) return wild
  if (schema.const !== undefined) return fc.constant(schema.const as JsonValue)
  if (Array.isArray(schema.enum)) return fc.constantFrom(...(schema.enum as JsonValue[]))
  const options = schema.anyOf ?? schema.oneOf
  if (Array.isArray(options)) return fc.oneof(...options.map(follow))
  switch (schema.type) {
    case 'string':
      return fromText(schema)
    case 'integer':
      return fc.integer({ min: boundOf(schema.minimum, -5), max: boundOf(schema.maximum, 100_000) })
    case 'number':
      return fc.double({ noNaN: true, noDefaultInfinity: true })
    case 'boolean':
      return fc.boolean()
    case 'null':
      return fc.constant(null)
    case 'array':
      return fc.array(follow(schema.items), { minLength: boundOf(schema.minItems, 0), maxLength: 4 })
    case 'object':
      return fromMembers(schema, follow)
    default:
      return wild
  }
}

function fromMembers(schema: JsonObject, follow: (next: unknown) => Arbitrary<JsonValue>) {
  const properties = (schema.properties ?? {}) as JsonObject
  const known = fc.record(
    Object.fromEntries(Object.entries(properties).map(([name, member]) => [name, follow(member)])),
    { requiredKeys: Array.isArray(schema.required) ? (schema.required as string[]) : [] },
  )
  if (typeof schema.additionalProperties !== 'object') return known as Arbitrary<JsonValue>
  const others = fc.dictionary(fc.string({ maxLength: 20 }), follow(schema.additionalProperties), {
    maxKeys: 3,
  })
  return fc.tuple(known, others).map(([own, more]) => ({ ...more, ...own })) as Arbitrary<JsonValue>
}

function fromText(schema: JsonObject): Arbitrary<JsonValue> {
  if (schema.format === 'date-time') {
    const date = fc.date({ noInvalidDate: true, min: new Date(0), max: new Date(4e12) })
    return date.map((value) => value.toISOString())
  }
  // Most patterns ask for names; `openai/small` and `fast` are lanes of the tests.
  return fc.oneof(fc.constantFrom('openai/small', 'openai/embed', 'fast', 'nightly', 'user'), nastyText)
}

function boundOf(value: unknown, otherwise: number): number {
  const bound = typeof value === 'number' ? value : otherwise
  return Math.min(Math.max(Math.ceil(bound), -(2 ** 31)), 2 ** 31 - 1)
}

/** Values that a schema accepts, with up to three faults: a place replaced, removed, or added. */
export function aroundSchema(schema: JsonObject, schemas: Schemas): Arbitrary<JsonValue> {
  const change = fc.record({
    at: fc.nat(),
    what: fc.constantFrom('replace', 'drop', 'add'),
    name: nastyText,
    by: wild,
  })
  return fc
    .tuple(fromSchema(schema, schemas), fc.array(change, { maxLength: 3 }))
    .map(([value, changes]) => changes.reduce((changed, one) => spoil(changed, one), value))
}

type Change = { at: number; what: string; name: string; by: JsonValue }

function spoil(value: JsonValue, { at, what, name, by }: Change): JsonValue {
  const copy = structuredClone(value)
  const places = listPlaces(copy)
  const place = places[at % places.length]
  if (!place) return by
  const { holder, key } = place
  if (what === 'drop' && !Array.isArray(holder)) delete holder[key as string]
  else if (what === 'add' && !Array.isArray(holder)) {
    // Not by assignment, because that sets the prototype for `__proto__`.
    Object.defineProperty(holder, name, { value: by, enumerable: true, configurable: true, writable: true })
  } else if (Array.isArray(holder)) holder[key as number] = by
  else holder[key] = by
  return copy
}

type Place = { holder: JsonObject | JsonValue[]; key: string | number }

function listPlaces(value: JsonValue): Place[] {
  if (typeof value !== 'object' || value === null) return []
  const holder = value as JsonObject | JsonValue[]
  return Object.entries(holder).flatMap(([name, member]) => [
    { holder, key: Array.isArray(holder) ? Number(name) : name },
    ...listPlaces(member as JsonValue),
  ])
}
