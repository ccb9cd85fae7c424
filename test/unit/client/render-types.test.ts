import { readFileSync } from 'node:fs'
import { expect, expectTypeOf, test } from 'vitest'
import type { Job } from '../../../client/index.ts'
import type { Job as StoredJob } from '../../../jobs/job.ts'
import { renderTypes } from '../../../scripts/client/render-types.ts'
import { describeApi } from '../../../scripts/docs/describe-api.ts'

test("the client's types are those of the OpenAPI document; else run npm run client:types", async () => {
  const written = readFileSync(new URL('../../../client/openapi.ts', import.meta.url), 'utf8')
  expect(written).toBe(renderTypes((await describeApi()).document))
})

test("a job's members have the same types as in the service", () => {
  expectTypeOf<Job['status']>().toEqualTypeOf<StoredJob['status']>()
  expectTypeOf<Job['cache']>().toEqualTypeOf<StoredJob['cache']>()
})

test('a schema that it does not know is an error, not a guess', async () => {
  const { document } = await describeApi()
  const strange = { type: 'object', patternProperties: {} }
  document.components.schemas.Job = strange
  expect(() => renderTypes(document)).toThrow('unknown keywords: patternProperties')
  document.components.schemas.Job = { type: 'date' }
  expect(() => renderTypes(document)).toThrow('no type for')
  document.paths['/v1/jobs'] = {}
  expect(() => renderTypes(document)).toThrow('the document has no operation createJob')
})
