import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { renderApiReference } from '../../../scripts/docs/api-reference.ts'
import { renderConfigReference } from '../../../scripts/docs/config-reference.ts'
import { describeApi } from '../../../scripts/docs/describe-api.ts'

const read = (name: string) =>
  readFileSync(new URL(`../../../docs/reference/${name}`, import.meta.url), 'utf8')

test('the configuration reference is what the schema says; else run npm run docs', () => {
  expect(read('configuration.md')).toBe(renderConfigReference())
})

test('the API reference is what the routes say; else run npm run docs', async () => {
  expect(read('api.md')).toBe(renderApiReference(await describeApi()))
})
