import { globSync, readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const read = (path: string) => readFileSync(`${root}/${path}`, 'utf8')
const sources = globSync(
  '{*.ts,{api,batches,cli,client,config,dashboard/src,durable,embedded-redis,events,examples,files,flows,history,jobs,lib,provider-batches,providers,ratelimit,schedules,services,simulator,telemetry,tenants,test,webhooks,workers,bench,scripts}/**/*.{ts,lua},clients/python/sluice_client/*.py}',
  { cwd: root },
)
const pages = globSync(['README.md', 'CONTRIBUTING.md', 'docs/{,contributing/,recipes/}*.md'], { cwd: root })

test.each(pages)('every source file that %s names is there', (page) => {
  const named = [...read(page).matchAll(/`((?:[\w-]+\/)*[\w.-]+\.(?:ts|lua))`/g)].map((match) => match[1]!)
  // A page may name a file by the end of its path, and NAME stands for a name of the reader's.
  const isThere = (name: string) => sources.some((path) => path === name || path.endsWith(`/${name}`))
  expect(named.filter((name) => !/NAME/.test(name) && !isThere(name))).toEqual([])
})

test('the page about adding a job type names every file that knows the one it takes as its example', () => {
  const page = read('docs/contributing/add-a-job-type.md')
  const places = sources.filter(
    (path) => !path.startsWith('test/') && path !== 'client/openapi.ts' && /\brerank\b/.test(read(path)),
  )
  expect(places.length).toBeGreaterThan(15)
  expect(places.filter((path) => !page.includes(`\`${path}\``))).toEqual([])
})

test('CONTRIBUTING.md links to every page for contributors', () => {
  const start = read('CONTRIBUTING.md')
  const guides = globSync('docs/contributing/*.md', { cwd: root })
  expect(guides.filter((path) => !start.includes(`](docs/contributing/${basename(path)})`))).toEqual([])
})
