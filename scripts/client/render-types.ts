import type { ApiDocument, Operation } from '../docs/describe-api.ts'
import type { Schema } from '../docs/json-schema.ts'

/** The operations that the client calls; their schemas, and all that those refer to, come along. */
const operations = [
  ...['createJob', 'createJobs', 'estimate', 'getJob', 'listJobs', 'listAttempts', 'getGroup', 'followJob'],
  ...['createSchedule', 'changeSchedule', 'listSchedules', 'listScheduleRuns'],
  ...['putDurableStep', 'signalDurableRun', 'getDurableRun', 'listDurableRuns'],
  ...['createFlow', 'listFlows', 'getFlow', 'cancelFlow', 'retryFlow', 'signalFlow', 'deleteFlow'],
  ...['followFlow', 'listFlowStepJobs'],
]

const header = `// Written by \`npm run client:types\` from the API's OpenAPI document; not to be edited by hand.

/**
 * Passes through to the provider unchanged, of any type: an interface, such as the bodies of the package \`openai\`,
 * fits no index of \`unknown\`.
 */
export type Untouched = any
`

/** Keywords that say nothing about types, and those that `renderObject` reads. */
const silent = [
  'description',
  'format',
  'pattern',
  'minimum',
  'maximum',
  'minLength',
  'maxLength',
  'minItems',
  'maxItems',
  'default',
  'properties',
  'required',
  'additionalProperties',
  'propertyNames',
]

/**
 * TypeScript for the client's part of the document. It knows the schemas that zod writes and throws at any other
 * keyword, so that nothing is left out silently.
 */
export function renderTypes({ paths, components }: ApiDocument): string {
  const all = Object.values(paths).flatMap((methods) => Object.values(methods))
  const named = new Map<string, Schema>()
  for (const id of operations) {
    const operation = all.find(({ operationId }) => operationId === id)
    if (operation === undefined) throw new Error(`the document has no operation ${id}`)
    for (const [name, schema] of listInline(id, operation)) named.set(name, schema)
    collect(operation, components.schemas, named)
  }
  const blocks = [...named]
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([name, schema]) => {
      const untouched = name.endsWith('Input') ? 'Untouched' : 'unknown'
      return `${describe(schema, '')}export type ${toTypeName(name)} = ${render(schema, '', untouched)}\n`
    })
  return [header, ...blocks].join('\n')
}

/** The schemas of an operation that have no name of their own: `ListJobsQuery`, `ListJobsAnswer`. */
function* listInline(id: string, { parameters = [], responses }: Operation): Generator<[string, Schema]> {
  const prefix = `${id.slice(0, 1).toUpperCase()}${id.slice(1)}`
  const query = parameters.filter((parameter) => parameter.in === 'query')
  const properties = query.map(({ name, schema, description }): [string, Schema] => [
    name,
    description === undefined ? schema : { ...schema, description },
  ])
  const required = query.filter((parameter) => parameter.required).map(({ name }) => name)
  if (query.length > 0) {
    yield [`${prefix}Query`, { type: 'object', properties: Object.fromEntries(properties), required }]
  }
  const answer = responses['200']?.content?.['application/json']?.schema
  if (answer?.type === 'object') yield [`${prefix}Answer`, answer]
}

/** Adds every schema that the value refers to, and those that they refer to. */
function collect(
  value: Schema | Operation,
  schemas: Record<string, Schema>,
  named: Map<string, Schema>,
): void {
  for (const [, name] of JSON.stringify(value).matchAll(/"#\/components\/schemas\/([^"]+)"/g)) {
    if (name === undefined || named.has(name)) continue
    named.set(name, schemas[name]!)
    collect(schemas[name]!, schemas, named)
  }
}

/** `CreateJobInput` says its direction; the type has the plain name. `Error` is a name of the language. */
function toTypeName(name: string): string {
  return name === 'Error' ? 'ErrorMembers' : name.replace(/Input$/, '')
}

/** `untouched` is the type of the members of a schema that is open to any names. */
function render(schema: Schema, indent: string, untouched: string): string {
  const { type, enum: values, const: only, anyOf, oneOf, items, $ref, ...others } = schema
  const unknown = Object.keys(others).filter((keyword) => !silent.includes(keyword))
  if (unknown.length > 0) throw new Error(`unknown keywords: ${unknown.join(', ')}`)
  const again = (inner: Schema) => render(inner, indent, untouched)
  if ($ref !== undefined) return toTypeName($ref.split('/').at(-1)!)
  if (only !== undefined) return quote(only)
  if (values !== undefined) return values.map(quote).join(' | ')
  const options = anyOf ?? oneOf
  if (options !== undefined) return options.map(again).join(' | ')
  if (Array.isArray(type)) return type.map((one) => again({ ...schema, type: one })).join(' | ')
  switch (type) {
    case undefined:
      return untouched
    case 'string':
    case 'boolean':
    case 'null':
      return type
    case 'number':
    case 'integer':
      return 'number'
    case 'array':
      return toArray(items === undefined ? untouched : again(items))
    case 'object':
      return renderObject(schema, indent, untouched)
  }
  throw new Error(`no type for ${JSON.stringify(schema)}`)
}

function toArray(item: string): string {
  return item.includes(' | ') ? `(${item})[]` : `${item}[]`
}

function renderObject(schema: Schema, indent: string, untouched: string): string {
  const { properties = {}, required = [], additionalProperties, propertyNames } = schema
  const deeper = `${indent}  `
  const index =
    typeof additionalProperties === 'object' ? render(additionalProperties, deeper, untouched) : null
  if (index !== null && propertyNames !== undefined) {
    return `Record<${render(propertyNames, deeper, untouched)}, ${index}>`
  }
  const lines = Object.entries(properties).map(([name, member]) => {
    const mark = required.includes(name) ? '' : '?'
    return `${describe(member, deeper)}${deeper}${name}${mark}: ${render(member, deeper, untouched)}\n`
  })
  if (index !== null) lines.push(`${deeper}[member: string]: ${index}\n`)
  return `{\n${lines.join('')}${indent}}`
}

function describe({ description }: Schema, indent: string): string {
  return description === undefined ? '' : `${indent}/** ${description.replaceAll('*/', '* /')} */\n`
}

function quote(value: unknown): string {
  return typeof value === 'string' ? `'${value.replaceAll("'", "\\'")}'` : JSON.stringify(value)
}
