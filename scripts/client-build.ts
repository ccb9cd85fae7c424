import { fileURLToPath } from 'node:url'
import { buildClient } from './client/build.ts'

const folder = fileURLToPath(new URL('../client/dist', import.meta.url))
await buildClient(folder)
process.stdout.write(`wrote ${folder}\n`)
