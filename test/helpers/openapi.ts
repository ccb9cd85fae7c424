import type { Api } from '../../api/deps.ts'
import type { JsonObject } from '../../lib/json.ts'

export type Parameter = { name: string; in: 'path' | 'query' | 'header'; schema: JsonObject }

/** One operation of the served document; `body` is the schema of its JSON body, or null. */
export type Operation = {
  method: 'GET' | 'POST' | 'DELETE' | 'PUT' | 'PATCH'
  /** As in the document: `/v1/jobs/{id}`. */
  path: string
  parameters: Parameter[]
  body: JsonObject | null
}

type Described = {
  parameters?: Parameter[]
  requestBody?: { content: Record<string, { schema: JsonObject }> }
}
type Document = {
  paths: Record<string, Record<string, Described>>
  components: { schemas: Record<string, JsonObject> }
}

/** Every route of the API's document, with the schemas that they refer to. */
export async function readOperations(
  app: Api,
): Promise<{ operations: Operation[]; schemas: Record<string, JsonObject> }> {
  const document = (await app.inject({ url: '/openapi.json' })).json() as Document
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { parameters = [], requestBody }]) => ({
      method: method.toUpperCase() as Operation['method'],
      path,
      parameters,
      body: requestBody?.content['application/json']?.schema ?? null,
    })),
  )
  return { operations, schemas: document.components.schemas }
}
