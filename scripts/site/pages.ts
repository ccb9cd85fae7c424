import { existsSync, globSync, readFileSync, statSync } from 'node:fs'
import { basename, join, posix } from 'node:path'

/** The pages of the site and the files beside them, by their paths in it; and the content of the sidebar. */
export type Site = { pages: Map<string, string>; files: Map<string, Buffer>; sidebar: SidebarSection[] }
export type SidebarSection = { text: string; items: SidebarItem[] }
export type SidebarItem = { text: string; link: string }

const LINK = /\[((?:[^\][]|\[[^\]]*\])*)\]\(([^)\s]+)\)/g
const FENCE = /(^```.*?^```$)/ms

/** Files that readers of the site do not need: a link to one is shown as its text. */
const LEFT_OUT = /^(?:test|bench)\//

/**
 * Makes the pages of the site out of docs/. Links between pages stay. What they link to outside of docs/ comes along: Markdown
 * as a page, a folder as a list of its files, any other file as text; but no tests and no results of benchmarks.
 * @param root the folder of the repository
 */
export function collectSite(root: string): Site {
  const pages = new Map<string, string>()
  const files = new Map<string, Buffer>()
  const open = globSync('docs/**/*.md', { cwd: root })
  while (open.length > 0) {
    const path = open.pop()!
    const place = toSitePath(path, root)
    if (pages.has(place)) continue
    pages.set(place, '')
    const text = isFolder(root, path) ? listFolder(root, path) : readFileSync(join(root, path), 'utf8')
    pages.set(place, mapLinks(text, follow(path, place)))
  }
  return { pages, files, sidebar: readSidebar(pages.get('index.md')!) }

  /** Where a link of the page leads in the site, null for nowhere; its target comes along. */
  function follow(path: string, place: string): (target: string) => string | null {
    return (link) => {
      if (/^(?:[a-z]+:|#)/.test(link)) return link
      const [target = '', anchor] = link.split('#')
      const found = posix.join(posix.dirname(path), target).replace(/\/$/, '')
      if (LEFT_OUT.test(found) || isAbsent(root, found)) return null
      const to = toSitePath(found, root)
      if (to.endsWith('.md')) open.push(found)
      else files.set(to, readFileSync(join(root, found)))
      // VitePress serves what is below public/ from the root of the site.
      if (to.startsWith('public/')) return to.slice('public'.length)
      const relative = posix.relative(posix.dirname(place), to)
      return `${relative.startsWith('.') ? relative : `./${relative}`}${anchor === undefined ? '' : `#${anchor}`}`
    }
  }
}

/** Where a file or a folder of the repository is in the site. */
function toSitePath(path: string, root: string): string {
  // The site begins with the list of all pages, and shows the content of the README on its other pages.
  if (path === 'README.md') return 'index.md'
  if (isFolder(root, path)) return toPlace(`${path}/README.md`)
  return path.endsWith('.md') || isPicture(path) ? toPlace(path) : `public/repository/${path}.txt`
}

function toPlace(path: string): string {
  const place = path.startsWith('docs/') ? path.slice('docs/'.length) : `repository/${path}`
  return place.replace(/(^|\/)README\.md$/, '$1index.md')
}

const isPicture = (path: string) => /\.(?:png|svg)$/.test(path)

/** The image has only a part of the repository. */
const isAbsent = (root: string, path: string) => !path.startsWith('docs/') && !existsSync(join(root, path))

function isFolder(root: string, path: string): boolean {
  return existsSync(join(root, path)) && statSync(join(root, path)).isDirectory()
}

/** The page of a folder: its own README, or else a list of its files. */
function listFolder(root: string, path: string): string {
  const readme = join(root, path, 'README.md')
  if (existsSync(readme)) return readFileSync(readme, 'utf8').replaceAll(LINK, fromWithin(basename(path)))
  const names = globSync('**/*.*', { cwd: join(root, path) }).sort()
  const list = names.map(
    (name) => `- [${readTitle(join(root, path, name)) ?? name}](${basename(path)}/${name})`,
  )
  return `# ${basename(path)}\n\n${list.join('\n')}\n`
}

/** A README's links as links from the folder above it. */
function fromWithin(folder: string) {
  return (whole: string, text: string, target: string) =>
    /^(?:[a-z]+:|#)/.test(target) ? whole : `[${text}](${posix.join(folder, target)})`
}

function readTitle(path: string): string | null {
  if (!path.endsWith('.md')) return null
  return /^# (.+)$/m.exec(readFileSync(path, 'utf8'))?.[1] ?? null
}

/** Changes the links of a page, but not texts that look like one in a block of code. */
function mapLinks(page: string, change: (target: string) => string | null): string {
  return page
    .split(FENCE)
    .map((part) =>
      part.startsWith('```')
        ? part
        : part.replaceAll(LINK, (_, text: string, target: string) => {
            const changed = change(target)
            return changed === null ? text : `[${text}](${changed})`
          }),
    )
    .join('')
}

/** The sections of the list of all pages, each page once. */
function readSidebar(index: string): SidebarSection[] {
  const seen = new Set<string>()
  return index
    .split(/^\*\*/m)
    .slice(1)
    .map((section) => {
      const items = [...section.matchAll(/\[([^\]]+)\]\(\.\/([^)#]+\.md)\)/g)].flatMap(([, text, page]) => {
        if (seen.has(page!)) return []
        seen.add(page!)
        return [{ text: text!, link: `/${page!.replace(/(?:index)?\.md$/, '')}` }]
      })
      return { text: section.slice(0, section.indexOf('**')), items }
    })
}
