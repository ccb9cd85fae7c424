/** Builds the site of docs/ into site/dist, which the API serves at /docs/guide: `npm run docs:site`. Fails on dead links. */
import { buildSite } from './site/build.ts'

await buildSite()
process.stdout.write('wrote site/dist\n')
