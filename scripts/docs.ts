import { mkdirSync, writeFileSync } from 'node:fs'
import { renderApiReference } from './docs/api-reference.ts'
import { renderConfigReference } from './docs/config-reference.ts'
import { describeApi } from './docs/describe-api.ts'

const folder = new URL('../docs/reference/', import.meta.url)
mkdirSync(folder, { recursive: true })
writeFileSync(new URL('configuration.md', folder), renderConfigReference())
writeFileSync(new URL('api.md', folder), renderApiReference(await describeApi()))
process.stdout.write('wrote docs/reference/configuration.md and docs/reference/api.md\n')
