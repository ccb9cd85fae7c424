import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { moveScripts } from '../../../scripts/site/build.ts'
import { findDeadLinks } from '../../../scripts/site/dead-links.ts'
import { collectSite } from '../../../scripts/site/pages.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))

function writeFiles(files: Record<string, string>): string {
  const folder = mkdtempSync(join(process.env.SLUICE_TEST_RUN ?? tmpdir(), 'site-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), text)
  }
  return folder
}

test('the site has every page of docs/, and every link of a page leads to something in it', () => {
  const { pages, files, sidebar } = collectSite(root)
  expect(pages.size).toBeGreaterThan(80)
  const dead = [...pages].flatMap(([page, text]) =>
    [...text.replaceAll(/^```.*?^```$/gms, '').matchAll(/\]\(([^)\s#]+)(?:#[^)\s]*)?\)/g)]
      .map(([, target]) => target!)
      .filter((target) => !/^[a-z]+:/.test(target))
      .filter((target) => {
        if (target.startsWith('/')) return !files.has(`public${target}`)
        const path = posix.join(posix.dirname(page), target)
        return !pages.has(path) && !files.has(path)
      })
      .map((target) => `${page}: ${target}`),
  )
  expect(dead).toEqual([])
  const shown = sidebar.flatMap(({ items }) => items.map(({ link }) => link))
  expect(new Set(shown).size).toBe(shown.length)
  expect(shown).toEqual(expect.arrayContaining(['/quick-start', '/http-api', '/numbers', '/recipes/']))
})

test('pages that a page links to outside of docs/ come along: pages as pages, folders as lists, all else but tests as text', () => {
  const folder = writeFiles({
    'README.md': '# Read me\n',
    'CHANGELOG.md': '# Changes\n\n[Home](docs/README.md)\n',
    'docs/README.md':
      '**To use it**\n\n1. [Start](start.md): [all of it](recipes/README.md)\n2. [Start](start.md#a)\n',
    'docs/start.md':
      '# Start\n\n[Up](../README.md) [changes](../CHANGELOG.md#changes) [code](../a/b.ts) [test](../test/b.test.ts) [gone](../gone.ts) [why](decisions/)\n\n```md\n[not](../none.md)\n```\n',
    'docs/recipes/README.md': '# Recipes\n\n[One](one.md) [far](https://example.com/x.md)\n',
    'docs/recipes/one.md': '# One\n\n![Picture](../images/a.png)\n',
    'docs/images/a.png': 'PNG',
    'docs/decisions/0001-first.md': '# The first\n',
    'a/b.ts': 'export {}\n',
  })
  const { pages, files, sidebar } = collectSite(folder)
  expect(Object.fromEntries(pages)).toMatchObject({
    'start.md': expect.stringContaining(
      '[Up](./index.md) [changes](./repository/CHANGELOG.md#changes) [code](/repository/a/b.ts.txt) test gone [why](./decisions/index.md)',
    ),
    'recipes/index.md': '# Recipes\n\n[One](./one.md) [far](https://example.com/x.md)\n',
    'repository/CHANGELOG.md': '# Changes\n\n[Home](../index.md)\n',
    'decisions/index.md': '# decisions\n\n- [The first](./0001-first.md)\n',
  })
  expect(pages.get('start.md')).toContain('[not](../none.md)')
  expect([...files.keys()].sort()).toEqual(['images/a.png', 'public/repository/a/b.ts.txt'])
  expect(sidebar).toEqual([
    {
      text: 'To use it',
      items: [
        { text: 'Start', link: '/start' },
        { text: 'all of it', link: '/recipes/' },
      ],
    },
  ])
})

test('a built site with a link to no page, or to no heading, does not pass', async () => {
  const folder = writeFiles({
    'index.html': '<a href="/guide/a">a</a><a href="/guide/b">b</a><a href="https://example.com">c</a>',
    'a.html':
      '<h1 id="top"></h1><a href="#top">t</a><a href="/guide/a#none">n</a><img src="/guide/none.png">',
    'c/index.html': '<a href="/guide/c/">c</a><a href="../a#top">a</a><a href="/elsewhere">e</a>',
  })
  expect((await findDeadLinks(folder, '/guide/')).sort()).toEqual([
    'a.html: /guide/a#none',
    'a.html: /guide/none.png',
    'c/index.html: /elsewhere',
    'index.html: /guide/b',
  ])
})

test('the site is built for any path, as a proxy may have one before that of the API', async () => {
  const read = (path: string) => readFileSync(join(root, path), 'utf8')
  expect(read('site/.vitepress/config.mjs')).toContain("base: './'")
  const inline = '<script id="dark">document.title</script><script src="./assets/app.js"></script>'
  const folder = writeFiles({ 'index.html': inline, 'a/b/c.html': inline, 'assets/app.js': '' })
  await moveScripts(folder)
  const sourceOf = (page: string) =>
    /id="dark" src="([^"]+)"/.exec(readFileSync(join(folder, page), 'utf8'))![1]!
  for (const page of ['index.html', 'a/b/c.html']) {
    expect(sourceOf(page)).toMatch(/^\./)
    expect(readFileSync(join(folder, page, '..', sourceOf(page)), 'utf8')).toBe('document.title')
  }
})
