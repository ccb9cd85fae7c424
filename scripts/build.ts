import { join } from 'node:path'
import { build } from 'vite'

/** Builds dashboard/dist from dashboard/; vite.config.ts there says how. */
const root = join(import.meta.dirname, '../dashboard')
await build({ root, configFile: join(root, 'vite.config.ts'), logLevel: 'warn' })
