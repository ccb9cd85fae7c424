import { writeFileSync } from 'node:fs'
import { renderTypes } from './client/render-types.ts'
import { describeApi } from './docs/describe-api.ts'

const target = new URL('../client/openapi.ts', import.meta.url)
writeFileSync(target, renderTypes((await describeApi()).document))
process.stdout.write('wrote client/openapi.ts\n')
