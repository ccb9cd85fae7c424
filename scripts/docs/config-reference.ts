import { buildJsonSchema, variable } from '../../config/json-schema.ts'
import { durationPattern, sizePattern } from '../../config/units.ts'
import {
  describeValue,
  listMembers,
  renderTable,
  type Schema,
  type SchemaMember,
  toCode,
} from './json-schema.ts'

const restartNote = / ?Restart to change\.$/
const fixed = ' ↻'
const toldDefault = / ?Default:? (.+?)\.(?= |$)/
const overridesProvider = /^models\.<name>\.(?:timeout|(?:limits|retry|coalesce)\.)/

const head = `# Configuration reference

\`npm run docs\` writes this page from the configuration's schema. It lists every member of \`sluice.yaml\`. [Configuration](../configuration.md) explains value
formats, how members work together, and what happens if the file has errors.

A **duration** is a number with a unit (\`20ms\`, \`1.5s\`, \`2h\`, \`7d\`), and so is a **size** (\`512B\`, \`1MiB\`). Every value may be written as \`\${NAME}\`. Sluice reads
members marked ↻ only at start; a change of any other member takes effect in running processes. "–" means that there is no default.`

/** docs/reference/configuration.md. */
export function renderConfigReference(): string {
  const { properties = {}, required = [] } = JSON.parse(buildJsonSchema()) as Schema
  const sections = Object.entries(properties).map(([name, schema]) =>
    renderSection(name, schema, required.includes(name)),
  )
  return `${[head, ...sections].join('\n\n')}\n`
}

function renderSection(name: string, schema: Schema, isRequired: boolean): string {
  const description = schema.description ?? ''
  const isFixed = restartNote.test(description)
  const text = [description.replace(restartNote, ''), ...(isRequired ? ['Required.'] : [])].join(' ')
  const head = `## ${name}\n\n${text}`
  const entry = findEntry(schema)
  if (entry === null) return `${head}\n\n${renderMembers(schema, isFixed)}`
  const place = schema.items === undefined ? `\`${name}.<name>\`` : `each entry of \`${name}\``
  if (entry.oneOf !== undefined) return `${head}\n\nIn ${place}:\n\n${renderRows(mergeKinds(entry.oneOf))}`
  if (entry.properties === undefined) return `${head}\n\nEach entry is a ${describeConfigValue(entry)}.`
  return `${head}\n\nIn ${place}:\n\n${renderMembers(entry, isFixed)}`
}

/** The schema of the entries of a mapping or list; null for other values. */
function findEntry({ additionalProperties, items }: Schema): Schema | null {
  return typeof additionalProperties === 'object' ? additionalProperties : (items ?? null)
}

function renderMembers(schema: Schema, isFixed: boolean): string {
  // A section that may also be a word, such as "off".
  const object = schema.anyOf?.find(({ properties }) => properties !== undefined) ?? schema
  const rows = listMembers(object).map(toRow)
  return renderRows(
    rows.map((row) =>
      isFixed && !row.meaning.endsWith(fixed) ? { ...row, meaning: row.meaning + fixed } : row,
    ),
  )
}

type Row = { path: string; value: string; default: string; meaning: string }

function renderRows(rows: Row[]): string {
  return renderTable(
    ['member', 'value', 'default', 'meaning'],
    rows.map((row) => [`\`${row.path}\``, row.value, row.default, row.meaning]),
  )
}

function toRow({ path, schema, required }: SchemaMember): Row {
  const text = schema.description ?? ''
  const meaning = text.replace(restartNote, '')
  const told = toldDefault.exec(meaning)
  return {
    path: path.replace(/^models\.<name>/, 'models.<model>'),
    value: describeConfigValue(schema),
    default: required ? 'required' : describeDefault(path, schema, told?.[1]),
    meaning: `${meaning.replace(toldDefault, '').trim()}${restartNote.test(text) ? fixed : ''}`,
  }
}

/** If the schema has no default, its description may name one; models inherit from their provider. */
function describeDefault(path: string, schema: Schema, told: string | undefined): string {
  if (overridesProvider.test(path)) return "the provider's"
  const value = schema.default
  if (value === undefined) return told ?? '–'
  if (isEmptyObject(value) && schema.properties !== undefined) return '–'
  return Array.isArray(value) ? toCode(`[${value.join(', ')}]`) : toCode(value)
}

const isEmptyObject = (value: unknown) =>
  typeof value === 'object' && value !== null && Object.keys(value).length === 0

/** One row a member, for all kinds of providers: a member that differs says for which kinds. */
function mergeKinds(kinds: Schema[]): Row[] {
  const rows = new Map<string, { kind: string; row: Row }[]>()
  for (const schema of kinds) {
    const kind = String(schema.properties?.kind?.const)
    for (const member of listMembers(schema)) {
      const row = toRow(member)
      rows.set(row.path, [...(rows.get(row.path) ?? []), { kind, row }])
    }
  }
  return [...rows.values()].map((variants) => {
    const { row } = variants[0]!
    const only =
      variants.length < kinds.length
        ? ` Only of kind ${variants.map(({ kind }) => toCode(kind)).join(', ')}.`
        : ''
    const values = [...new Set(variants.map((variant) => variant.row.value))].join(', ')
    return { ...row, value: values, default: mergeDefaults(variants), meaning: `${row.meaning}${only}` }
  })
}

function mergeDefaults(variants: { kind: string; row: Row }[]): string {
  const kindsOf = Map.groupBy(variants, ({ row }) => row.default)
  if (kindsOf.size === 1) return variants[0]!.row.default
  return [...kindsOf].map(([text, same]) => `${same.map(({ kind }) => kind).join(', ')}: ${text}`).join('; ')
}

function describeConfigValue(schema: Schema): string {
  return describeValue(withoutVariables(schema), (text) => {
    if (text.pattern?.includes(durationPattern.source)) return 'duration'
    if (text.pattern?.includes(sizePattern.source)) return 'size'
    return 'string'
  })
}

/** Every value may also be a string with a variable. The top of the page says so once, so this removes that form. */
function withoutVariables(schema: Schema): Schema {
  const { anyOf, type, additionalProperties: others } = schema
  if (Array.isArray(type)) return { ...schema, type: type[0]! }
  if (anyOf !== undefined) {
    const [first, ...further] = anyOf
      .filter((one) => one.type !== 'string' || one.pattern !== variable)
      .map(withoutVariables)
    if (further.length === 0) return { ...schema, ...first, anyOf: undefined } as Schema
    return { ...schema, anyOf: [first!, ...further] }
  }
  if (schema.items !== undefined) return { ...schema, items: withoutVariables(schema.items) }
  if (typeof others === 'object') return { ...schema, additionalProperties: withoutVariables(others) }
  return schema
}
