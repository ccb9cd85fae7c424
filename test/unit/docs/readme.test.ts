import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { loadConfig } from '../../../config/load.ts'
import { renderReport } from '../../../scripts/demo/report.ts'
import type { Summary } from '../../../scripts/demo/summary.ts'
import { readCommandSources } from '../../helpers/command-sources.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const readme = readFileSync(join(root, 'README.md'), 'utf8')
const pages = globSync(['*.md', 'docs/**/*.md', 'examples/*.md'], { cwd: root })

const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  scripts: Record<string, string>
}

/** All fenced blocks first, because the end of one looks like the beginning of another without a language. */
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

test.each(pages)('every part of a page that %s links to is there', (page) => {
  const text = readFileSync(join(root, page), 'utf8')
  const missing = [...text.matchAll(/\]\(([^)\s#:]*\.md|)#([^)\s]+)\)/g)].filter(([, target, anchor]) => {
    const path = target === '' ? page : join(dirname(page), target!)
    return !listAnchors(readFileSync(join(root, path), 'utf8')).has(anchor!)
  })
  expect(missing.map(([link]) => link)).toEqual([])
})

test.each(pages)('every script that %s runs with npm is one of package.json', (page) => {
  const text = readFileSync(join(root, page), 'utf8')
  const named = [...text.matchAll(/npm run (?:-s )?([\w:-]+)/g)].map((match) => match[1]!)
  expect(named.filter((name) => !(name in scripts))).toEqual([])
})

test.each(pages)('every command of the program that %s names is one', (page) => {
  const source = readFileSync(join(root, 'main.ts'), 'utf8') + readCommandSources()
  const known = [...source.matchAll(/(?:\.command\(|\[)'([\w-]+)'/g)].map((match) => match[1]!)
  const text = readFileSync(join(root, page), 'utf8')
  const named = [
    ...text.matchAll(/(?:^|`|\| )(?:node main\.ts|sluice|npm run (?:-s )?sluice --) ([a-z][\w-]*)/gm),
  ]
  expect(named.map((match) => match[1]!).filter((name) => ![...known, 'help'].includes(name))).toEqual([])
})

test('the order of reading has every page of docs/', () => {
  const order = readFileSync(join(root, 'docs/README.md'), 'utf8')
  const named = globSync('docs/{,reference/}*.md', { cwd: root }).map((page) => page.replace(/^docs\//, ''))
  expect(named.filter((page) => page !== 'README.md' && !order.includes(`](${page})`))).toEqual([])
})

test('the configuration in the README is one that loads', () => {
  const env = { OPENAI_API_KEY: 'sk-1', ACME_KEY: 'acme-key-0123456789', OPS_KEY: 'ops-key-0123456789' }
  const text = blocks('yaml').find((block) => block.startsWith('providers:'))
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

/**
 * The anchors of a page's headings as GitHub makes them: lower case, no punctuation, hyphens for spaces, duplicates
 * numbered.
 */
function listAnchors(text: string): Set<string> {
  const anchors = new Set<string>()
  for (const [, heading] of text.replaceAll(/^```.*?^```$/gms, '').matchAll(/^#+ (.+)$/gm)) {
    const anchor = heading!
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}_ -]/gu, '')
      .replaceAll(' ', '-')
    let number = 0
    while (anchors.has(number === 0 ? anchor : `${anchor}-${number}`)) number++
    anchors.add(number === 0 ? anchor : `${anchor}-${number}`)
  }
  return anchors
}
