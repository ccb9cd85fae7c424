import type { SwaggerTransformObject } from '@fastify/swagger'

type Document = ReturnType<SwaggerTransformObject>
type Schema = { $ref?: string; properties?: Record<string, object> }
type Content = Record<string, { schema?: Schema }>

/** Members that are files in forms, and ids of files in JSON. */
const FILES: Record<string, object> = {
  file: { type: 'string', format: 'binary' },
  mask: { type: 'string', format: 'binary' },
  image: { type: 'array', items: { type: 'string', format: 'binary' }, description: 'One or several.' },
}

/** Describes the files of forms on routes that also accept JSON with ids: the route has one schema for both. */
export function describeFiles(document: Document): Document {
  const { paths = {}, components } = document as unknown as {
    paths?: Record<string, Record<string, { requestBody?: { content?: Content } }>>
    components?: { schemas?: Record<string, Schema> }
  }
  for (const operation of Object.values(paths).flatMap((path) => Object.values(path))) {
    const content = operation.requestBody?.content
    const form = content?.['multipart/form-data']
    if (content === undefined || content['application/json'] === undefined || form?.schema === undefined)
      continue
    const name = form.schema.$ref?.split('/').at(-1)
    const schema = name === undefined ? form.schema : components?.schemas?.[name]
    if (schema?.properties === undefined) continue
    const files = Object.entries(FILES).filter(([member]) => member in schema.properties!)
    const properties = { ...schema.properties, ...Object.fromEntries(files) }
    content['multipart/form-data'] = { ...form, schema: { ...schema, properties } }
  }
  return document
}
