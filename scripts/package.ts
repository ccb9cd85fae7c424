/**
 * Builds the npm package `sluice` and packs it: compiled JavaScript with the dashboard and the guide in it, for `npx sluice start`.
 *
 *   npm run package                 writes dist/package and dist/sluice-VERSION.tgz
 *   npm run package -- --out DIR    writes both below DIR
 */
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { buildPackage, packPackage } from './package/build.ts'
import { buildSite } from './site/build.ts'

const { values } = parseArgs({ options: { out: { type: 'string', default: 'dist' } } })
const folder = resolve(values.out, 'package')
await buildSite()
await buildPackage(folder)
process.stdout.write(`wrote ${await packPackage(folder, resolve(values.out))}\n`)
