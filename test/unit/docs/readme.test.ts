import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { loadConfig } from '../../../config/load.ts'
import { renderReport } from '../../../scripts/demo/report.ts'
import type { Summary } from '../../../scripts/demo/summary.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const readme = readFileSync(join(root, 'README.md'), 'utf8')
const pages = globSync(['*.md', 'docs/**/*.md', 'examples/*.md'], { cwd: root })

/** All fenced blocks first, for the end of one looks like the beginning of another without a language. */
function blocks(language: string): string[] {
  return [...readme.matchAll(/^```(\w*)\n(.*?)^```$/gms)]
    .filter((match) => match[1] === language)
    .map((match) => match[2]!)
}

test.each(pages)('every file that %s links to is there', (page) => {
  const text = readFileSync(join(root, page), 'utf8')
  const targets = [...text.matchAll(/\]\(([^)\s]+)\)/g)]
    .map((match) => match[1]!.replace(/#.*$/, ''))
    .filter((target) => target !== '' && !/^[a-z]+:/.test(target))
  expect(targets.filter((target) => !existsSync(join(root, dirname(page), target)))).toEqual([])
})

test('the configuration in the README is one that loads', () => {
  const env = { OPENAI_API_KEY: 'sk-1', ACME_KEY: 'acme-key-0123456789', OPS_KEY: 'ops-key-0123456789' }
  const [text] = blocks('yaml')
  const config = loadConfig({ path: 'sluice.yaml', text: text!, env })
  expect(Object.keys(config.providers)).toEqual(['openai', 'backup'])
})

test('the table in the README has the rows that the demo prints', () => {
  const row = { jobs: 1, answered: 1, failed: 0, waitP50: 1, waitP95: 1 }
  const summary: Summary = {
    rows: { chats: row, embeddings: row, streamed: row },
    jobs: 3,
    calls: 3,
    embeddingJobs: 1,
    embeddingCalls: 1,
    shared: 0,
    cached: 0,
    retried: 0,
    faults: 0,
    rejections: 0,
    paidTwice: 0,
    limit: { seconds: 1, requests: 1, tokens: 1 },
    costUsd: 0,
    costWithoutSharingUsd: 0,
    broken: [],
  }
  const names = (table: string) =>
    table
      .split('\n')
      .map((line) => line.split(/ {2,}/)[0])
      .filter((name) => name && !name.startsWith('wait:'))
  const [table] = blocks('').filter((block) => block.includes('provider calls'))
  expect(names(table!)).toEqual(names(renderReport(summary)))
})

test('every npm command in the README is one of package.json', () => {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const named = [...readme.matchAll(/npm (?:run )?([a-z]+)/g)].map((match) => match[1]!)
  expect(named.length).toBeGreaterThan(4)
  expect(named.filter((name) => !(name in scripts))).toEqual([])
})
