import { writeFileSync } from 'node:fs'
import { buildJsonSchema } from '../config/json-schema.ts'

const target = new URL('../sluice.schema.json', import.meta.url)
writeFileSync(target, buildJsonSchema())
process.stdout.write('wrote sluice.schema.json\n')
