import { existsSync, globSync, statSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'

/**
 * Links of a built site that lead nowhere: to no file, or to no heading of a page.
 * @param folder what is served
 * @param base where it is served, with slashes around
 * @returns a line each: the page and its link
 */
export async function findDeadLinks(folder: string, base: string): Promise<string[]> {
  const pages = globSync('**/*.html', { cwd: folder })
  const texts = new Map(
    await Promise.all(pages.map(async (page) => [page, await readFile(join(folder, page), 'utf8')] as const)),
  )
  const anchors = new Map(
    [...texts].map(([page, html]) => [
      page,
      new Set([...html.matchAll(/\bid="([^"]+)"/g)].map(([, id]) => id!)),
    ]),
  )
  const dead: string[] = []
  for (const [page, html] of texts) {
    for (const [, link] of html.matchAll(/\b(?:href|src)="([^"]+)"/g)) {
      if (/^[a-z]+:/.test(link!) || link === '') continue
      const { pathname, hash } = new URL(link!, `http://site${base}${page}`)
      const path = pathname.startsWith(base) ? decodeURIComponent(pathname.slice(base.length)) : null
      const target = path === null ? null : findFile(folder, path)
      const anchor = decodeURIComponent(hash.slice(1))
      if (target === null || (anchor !== '' && anchors.get(target)?.has(anchor) !== true))
        dead.push(`${page}: ${link}`)
    }
  }
  return dead
}

/** The file that is served at a path: addresses of pages have no ending. */
function findFile(folder: string, path: string): string | null {
  const tried = path === '' || path.endsWith('/') ? [`${path}index.html`] : [path, `${path}.html`]
  return tried.find((file) => existsSync(join(folder, file)) && statSync(join(folder, file)).isFile()) ?? null
}
