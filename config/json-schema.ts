import { z } from 'zod'
import { configSchema } from './schema.ts'

type JsonSchema = z.core.JSONSchema.BaseSchema

/** Pattern of text with a variable. */
export const variable = '\\$\\{'

/** The JSON Schema of the YAML file for editors, before variables are replaced. Formatted with 2 spaces and a final newline. */
export function buildJsonSchema(): string {
  const schema = z.toJSONSchema(configSchema, { io: 'input', target: 'draft-2020-12' })
  const titled = {
    ...allowVariables(schema),
    title: 'Sluice',
    description: 'Configuration of Sluice: sluice.yaml.',
  }
  return `${JSON.stringify(titled, null, 2)}\n`
}

/**
 * Allows `${NAME}` for every value: numbers may be a string with a variable, and text either matches its pattern or contains a variable.
 */
function allowVariables(schema: JsonSchema): JsonSchema {
  const result: JsonSchema = { ...schema }
  if (result.properties) result.properties = mapValues(result.properties)
  if (typeof result.items === 'object' && !Array.isArray(result.items))
    result.items = allowVariables(result.items)
  if (typeof result.additionalProperties === 'object') {
    result.additionalProperties = allowVariables(result.additionalProperties)
  }
  if (result.oneOf)
    result.oneOf = result.oneOf.map((option) =>
      typeof option === 'object' ? allowVariables(option) : option,
    )
  if (result.anyOf)
    result.anyOf = [
      ...result.anyOf.map((option) => (typeof option === 'object' ? allowVariables(option) : option)),
      { type: 'string', pattern: variable },
    ]
  return loosen(result)
}

function loosen(schema: JsonSchema): JsonSchema {
  const { type } = schema
  if (type === 'integer' || type === 'number' || type === 'boolean') {
    const { maximum, ...rest } = schema
    const bounded = maximum === undefined || maximum === Number.MAX_SAFE_INTEGER ? rest : schema
    // JSON Schema allows a list of types; zod's type definition does not.
    return { ...bounded, type: [type, 'string'] as unknown as 'string', pattern: variable }
  }
  if (type !== 'string' || schema.const !== undefined) return schema
  if (schema.enum) {
    const { enum: choices, type: _, ...rest } = schema
    return {
      ...rest,
      anyOf: [
        { type: 'string', enum: choices },
        { type: 'string', pattern: variable },
      ],
    }
  }
  return schema.pattern === undefined ? schema : { ...schema, pattern: `(?:${schema.pattern})|${variable}` }
}

function mapValues(properties: NonNullable<JsonSchema['properties']>): NonNullable<JsonSchema['properties']> {
  return Object.fromEntries(
    Object.entries(properties).map(([name, member]) => [
      name,
      typeof member === 'object' ? allowVariables(member) : member,
    ]),
  )
}
