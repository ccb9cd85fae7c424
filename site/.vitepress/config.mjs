import { readFileSync } from 'node:fs'
import { defineConfig } from 'vitepress'

// scripts/site/pages.ts makes the pages and the sidebar out of docs/.
const sidebar = JSON.parse(readFileSync(new URL('../sidebar.json', import.meta.url), 'utf8'))

export default defineConfig({
  title: 'Sluice',
  description: 'A self-hosted queue between applications and LLM providers.',
  lang: 'en',
  // Every link is relative: a proxy may serve the API below any path.
  base: './',
  srcDir: 'pages',
  outDir: 'dist',
  cacheDir: 'cache',
  cleanUrls: true,
  metaChunk: true,
  // None: else browsers ask for /favicon.ico.
  head: [['link', { rel: 'icon', href: 'data:,' }]],
  markdown: {
    // Pages are plain Markdown: a name in angle brackets is text.
    html: false,
    anchor: { slugify: toAnchor },
    config(md) {
      // Expressions of flows are text, too; Vue would evaluate them.
      for (const rule of ['text', 'code_inline']) {
        const render = md.renderer.rules[rule]
        md.renderer.rules[rule] = (...args) => render(...args).replaceAll('{{', '&#123;&#123;')
      }
    },
  },
  themeConfig: {
    sidebar,
    outline: [2, 3],
    search: { provider: 'local' },
  },
})

/** The anchor of a heading as GitHub makes it, so that the links of docs/ work in both places. */
function toAnchor(heading) {
  return heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}_ -]/gu, '')
    .replaceAll(' ', '-')
}
