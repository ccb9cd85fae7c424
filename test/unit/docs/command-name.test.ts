import { globSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const pages = globSync(['README.md', 'docs/**/*.md', 'examples/**/*.md', 'clients/**/*.md'], { cwd: root })

test.each(pages.filter((page) => !page.startsWith('docs/decisions/')))(
  'the blocks of %s write the command as `sluice`',
  (page) => {
    const text = readFileSync(`${root}/${page}`, 'utf8')
    const blocks = [...text.matchAll(/^ *```\w*\n([\s\S]*?)^ *```$/gm)].map(([, block]) => block!)
    for (const block of blocks) expect(block).not.toMatch(/npm run (?:-s )?sluice|\bnode main\.ts /)
  },
)
