import type { Access } from '../../api/auth.ts'
import { errorTable } from '../../api/errors.ts'
import type { ApiDocument, Operation, Parameter } from './describe-api.ts'
import {
  describeValue,
  listMembers,
  renderTable,
  type Schema,
  type SchemaMember,
  toCode,
} from './json-schema.ts'

const head = `# API reference

\`npm run docs\` writes this page from the OpenAPI document, which a server has at \`/openapi.json\`. At \`/docs\` you can try every route.
[HTTP API](../http-api.md) explains the routes by examples, and [OpenAI's API](../openai.md) those for OpenAI SDKs.

*Key* is the scope that a route requires. A tenant's key of the configuration has \`jobs\` and \`read\`; an **admin** key has every scope. If no tenants are configured, no key is needed.
An admin may use the routes of a tenant [with \`x-tenant\`](../http-api.md#acting-as-a-tenant).`

const accessNames: Record<Access, string> = {
  public: 'none',
  jobs: 'jobs',
  read: 'read',
  metrics: 'metrics',
  admin: 'admin',
}

type Route = { name: string; tag: string; key: string; anchor: string; operation: Operation }

/** docs/reference/api.md. */
export function renderApiReference({
  document,
  access,
}: {
  document: ApiDocument
  access: ReadonlyMap<string, Access>
}): string {
  const routes = listRoutes(document, access)
  const described = new Map(document.tags.map(({ name, description }) => [name, description]))
  const sections = [...Map.groupBy(routes, ({ tag }) => tag)].map(([tag, own]) => {
    const text = described.get(tag)
    return [`## ${tag}`, ...(text === undefined ? [] : [text]), ...own.map(renderRoute)].join('\n\n')
  })
  const parts = [head, renderOverview(routes), renderErrors(), ...sections, renderSchemas(document)]
  return `${parts.join('\n\n')}\n`
}

/** In the order of the page: by tag, first the tags that the document describes. */
function listRoutes(document: ApiDocument, access: ReadonlyMap<string, Access>): Route[] {
  const routes = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => {
      const name = `${method.toUpperCase()} ${path}`
      const who = access.get(name)
      if (who === undefined) throw new Error(`the access of ${name} is unknown`)
      return { name, tag: operation.tags?.[0] ?? 'Others', key: accessNames[who], operation }
    }),
  )
  const tags = [...new Set([...document.tags.map(({ name }) => name), ...routes.map(({ tag }) => tag)])]
  const ordered = tags.flatMap((tag) => routes.filter((route) => route.tag === tag))
  const anchors = createAnchors()
  return ordered.map((route) => ({ ...route, anchor: anchors(route.name) }))
}

function renderOverview(routes: Route[]): string {
  const rows = routes.map(({ name, key, anchor, operation }) => [
    `[\`${name}\`](#${anchor})`,
    operation.summary ?? '',
    key,
  ])
  return `## Routes\n\n${renderTable(['route', 'what it does', 'key'], rows)}`
}

function renderErrors(): string {
  const rows = Object.entries(errorTable).map(([code, { status, type, retryAfterSeconds }]) => [
    String(status),
    `\`${code}\``,
    `\`${type}\``,
    retryAfterSeconds === null ? 'no' : 'yes',
  ])
  const table = renderTable(['status', '`code`', '`type`', 'a retry may help'], rows)
  return `## Errors\n\nEvery route may return these, as [ErrorAnswer](#erroranswer):\n\n${table}`
}

function renderRoute({ name, key, operation }: Route): string {
  const { summary, description, requestBody, responses } = operation
  // Parameters in the path need no row.
  const parameters = (operation.parameters ?? []).filter(
    (parameter) => parameter.in !== 'path' || parameter.description !== undefined,
  )
  const facts = [
    `Key: ${key}.`,
    ...Object.entries(requestBody?.content ?? {}).map(
      ([type, { schema }]) =>
        `Body${requestBody?.required === false ? ' (optional)' : ''}: ${describeContent(type, schema)}.`,
    ),
    `Answers: ${describeAnswers(responses)}.`,
  ]
  const inline = Object.values(requestBody?.content ?? {}).flatMap(({ schema }) => renderInline(schema))
  return [
    `### \`${name}\``,
    [`${summary}.`, ...(isMore(summary, description) ? [endSentence(description)] : [])].join(' '),
    facts.join(' '),
    ...(parameters.length === 0 ? [] : [renderParameters(parameters)]),
    ...inline,
  ].join('\n\n')
}

/** A route without a description gets its summary as one. */
const isMore = (summary: string | undefined, description: string | undefined): description is string =>
  description !== undefined && description !== summary

const endSentence = (text: string) => (/[.!?:]$/.test(text) ? text : `${text}.`)

function renderParameters(parameters: Parameter[]): string {
  return renderTable(
    ['parameter', 'in', 'value', 'meaning'],
    parameters.map(({ name, in: place, required = false, description, schema }) => [
      `\`${name}\``,
      place,
      withDefault(schema),
      [...(required && place !== 'path' ? ['Required.'] : []), description ?? schema.description ?? ''].join(
        ' ',
      ),
    ]),
  )
}

/** Members of a body that has no name of its own among the schemas. */
function renderInline(schema: Schema | undefined): string[] {
  const object = schema?.anyOf?.find(({ properties }) => properties !== undefined) ?? schema
  return object?.properties === undefined ? [] : [renderMembers(object)]
}

function describeAnswers(responses: Operation['responses']): string {
  return Object.entries(responses)
    .filter(([status]) => /^\d+$/.test(status))
    .map(([status, { content = {} }]) => {
      const kinds = Object.entries(content).map(([type, { schema }]) => describeContent(type, schema))
      return `${status}${kinds.length === 0 ? '' : ` ${kinds.join(' or ')}`}`
    })
    .join(', ')
}

function describeContent(type: string, schema: Schema | undefined): string {
  const text = schema === undefined ? '' : describeBody(schema)
  if (type === 'application/json') return text === '' ? 'JSON' : text
  return [`\`${type}\``, ...(text === '' || text === 'string' || text === 'any' ? [] : [`of ${text}`])].join(
    ' ',
  )
}

function describeBody(schema: Schema): string {
  const entries = schema.properties?.object?.enum?.[0] === 'list' ? schema.properties.data?.items : undefined
  if (entries !== undefined) return `a list of ${describeBody(entries)}`
  const members = Object.keys(schema.properties ?? {})
  return members.length === 0 ? describe(schema) : `object of ${members.map(toCode).join(', ')}`
}

function renderSchemas({ components }: ApiDocument): string {
  const parts = Object.entries(components.schemas).map(([name, schema]) => {
    const text = schema.description === undefined ? [] : [schema.description]
    const shape = listOwnMembers(schema).length === 0 ? [`${describe(schema)}`] : [renderMembers(schema)]
    return [`### ${name}`, ...text, ...shape].join('\n\n')
  })
  return ['## Schemas', ...parts].join('\n\n')
}

function renderMembers(schema: Schema): string {
  return renderTable(
    ['member', 'value', 'meaning'],
    listOwnMembers(schema).map(({ path, schema: member, required }) => [
      `\`${path}\`${required ? '' : ' (optional)'}`,
      withDefault(member),
      member.description ?? '',
    ]),
  )
}

/**
 * If a schema is one of several: the members of all of them, each once; a member is optional unless all require it.
 */
function listOwnMembers(schema: Schema): SchemaMember[] {
  const variants = (schema.oneOf ?? schema.anyOf)?.map((variant) => listMembers(variant))
  if (variants === undefined) return listMembers(schema)
  return [...Map.groupBy(variants.flat(), ({ path }) => path)].map(([path, members]) => ({
    path,
    schema: mergeSchemas(members.map((member) => member.schema)),
    required: members.length === variants.length && members.every(({ required }) => required),
  }))
}

function mergeSchemas(schemas: Schema[]): Schema {
  const [first] = schemas
  const isOne = new Set(schemas.map((schema) => JSON.stringify(schema))).size === 1
  return isOne
    ? first!
    : { anyOf: schemas, ...(first?.description === undefined ? {} : { description: first.description }) }
}

function withDefault(schema: Schema): string {
  return schema.default === undefined
    ? describe(schema)
    : `${describe(schema)}; default \`${schema.default}\``
}

function describe(schema: Schema): string {
  return describeValue(schema, ({ format, minLength, maxLength }) => {
    if (format !== undefined) return format
    if (maxLength !== undefined) return `string, up to ${maxLength} characters`
    return minLength === undefined || minLength === 0 ? 'string' : 'string, not empty'
  })
}

/**
 * The anchors of headings with code: lower case, hyphens for spaces, and otherwise only letters and digits;
 * duplicates are numbered.
 */
function createAnchors(): (heading: string) => string {
  const seen = new Map<string, number>()
  return (heading) => {
    const anchor = heading
      .toLowerCase()
      .replaceAll(/[^\w -]/g, '')
      .replaceAll(' ', '-')
    const before = seen.get(anchor) ?? 0
    seen.set(anchor, before + 1)
    return before === 0 ? anchor : `${anchor}-${before}`
  }
}
