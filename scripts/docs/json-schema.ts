/** The part of a JSON Schema that the references read, from the configuration or from the OpenAPI document. */
export type Schema = {
  $ref?: string
  type?: string | string[]
  enum?: unknown[]
  const?: unknown
  default?: unknown
  description?: string
  pattern?: string
  format?: string
  minimum?: number
  exclusiveMinimum?: number
  maximum?: number
  minLength?: number
  maxLength?: number
  minItems?: number
  maxItems?: number
  items?: Schema
  properties?: Record<string, Schema>
  required?: string[]
  additionalProperties?: boolean | Schema
  propertyNames?: Schema
  anyOf?: Schema[]
  oneOf?: Schema[]
}

export type SchemaMember = { path: string; schema: Schema; required: boolean }

/**
 * Every member below an object, in order, those of objects within it under dotted paths: `limits.window`. Entries of a
 * mapping are under `<name>`, those of a list of objects under `[]`.
 */
export function listMembers(schema: Schema, path = ''): SchemaMember[] {
  const { properties = {}, required = [] } = schema
  return Object.entries(properties).flatMap(([name, member]) => {
    const place = path === '' ? name : `${path}.${name}`
    return [{ path: place, schema: member, required: required.includes(name) }, ...listInner(member, place)]
  })
}

function listInner(schema: Schema, path: string): SchemaMember[] {
  const choices = schema.anyOf ?? schema.oneOf
  if (choices !== undefined) return choices.flatMap((choice) => listInner(choice, path))
  if (schema.properties !== undefined) return listMembers(schema, path)
  if (schema.items?.properties !== undefined) return listMembers(schema.items, `${path}[]`)
  if (typeof schema.additionalProperties === 'object' && schema.additionalProperties.properties !== undefined)
    return listMembers(schema.additionalProperties, `${path}.<name>`)
  return []
}

/** What a value may be, in words: `integer, 1 to 100`, `list of string`, `[Job](#job) or null`. */
export function describeValue(schema: Schema, describeString: (schema: Schema) => string): string {
  const describe = (part: Schema) => describeValue(part, describeString)
  if (schema.$ref !== undefined) {
    const name = schema.$ref.split('/').at(-1)!
    return `[${name}](#${name.toLowerCase()})`
  }
  if (schema.const !== undefined) return toCode(schema.const)
  if (schema.enum !== undefined) return schema.enum.map(toCode).join(', ')
  const choices = schema.anyOf ?? schema.oneOf
  if (choices !== undefined) return [...new Set(choices.map(describe))].join(' or ')
  const { type } = schema
  if (Array.isArray(type)) return type.map((one) => describe({ ...schema, type: one })).join(' or ')
  if (type === 'array') return describeList(schema, describe)
  if (type === 'string') return describeString(schema)
  if (type === 'integer' || type === 'number') return `${type}${describeRange(schema)}`
  if (type === 'object' && typeof schema.additionalProperties === 'object')
    return schema.additionalProperties.properties === undefined &&
      Object.keys(schema.additionalProperties).length > 0
      ? `mapping to ${describe(schema.additionalProperties)}`
      : 'mapping'
  return type ?? 'any'
}

function describeList(schema: Schema, describe: (part: Schema) => string): string {
  const { minItems, maxItems, items } = schema
  const counts = [
    minItems === undefined ? '' : `${minItems} or more`,
    maxItems === undefined ? '' : `${maxItems} at the most`,
  ].filter((text) => text !== '')
  const of = items === undefined || Object.keys(items).length === 0 ? 'list' : `list of ${describe(items)}`
  return [of, ...counts].join(', ')
}

function describeRange({ minimum, exclusiveMinimum, maximum }: Schema): string {
  const most = maximum === undefined || maximum >= Number.MAX_SAFE_INTEGER ? undefined : maximum
  const least =
    minimum === undefined || minimum <= Number.MIN_SAFE_INTEGER
      ? exclusiveMinimum === undefined
        ? undefined
        : `over ${exclusiveMinimum}`
      : `${minimum}`
  if (least === undefined) return most === undefined ? '' : `, up to ${most}`
  if (most === undefined) return minimum === undefined ? `, ${least}` : `, from ${least}`
  return minimum === undefined ? `, ${least} up to ${most}` : `, ${least} to ${most}`
}

export function toCode(value: unknown): string {
  return `\`${typeof value === 'string' ? value : JSON.stringify(value)}\``
}

/** A table of Markdown; a bar in a cell would end the cell. */
export function renderTable(head: string[], rows: string[][]): string {
  const toLine = (cells: string[]) =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|').replaceAll('\n', ' ')).join(' | ')} |`
  return [toLine(head), toLine(head.map(() => '---')), ...rows.map(toLine)].join('\n')
}
