import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const docs = new URL('../../../docs/', import.meta.url)

/** A page of docs/, with line breaks and other blanks as single spaces. */
export function readPage(name: string): string {
  return readFileSync(new URL(name, docs), 'utf8').replaceAll(/\s+/g, ' ')
}

/** What a page names as `[name](file): "title", "title"`: each title with the file it links to. */
export function listNamedTests(page: string): (readonly [title: string, path: string])[] {
  return [...page.matchAll(/\]\((\.\.\/test\/[^)]+)\): ("[^"]+"(?:, "[^"]+")*)/g)].flatMap(([, path, list]) =>
    list!.split('", "').map((title) => [title.replaceAll('"', ''), path!] as const),
  )
}

export function readLinked(path: string): string {
  return readFileSync(fileURLToPath(new URL(path, docs)), 'utf8')
}
