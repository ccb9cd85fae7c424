/** A small break of the product that some test has to notice. */
export type Break = {
  /** Path from the root. */
  file: string
  /** A text that occurs exactly once in the file, and its replacement. */
  find: string
  replace: string
  /** Test files that are run against it, and the titles in them that are enough (as `vitest -t` takes them; absent: all). */
  tests: readonly string[]
  titles?: string
  /** What the break means. */
  says: string
  /** Why no test can notice it; absent: one has to. */
  survives?: string
}

/** How often the text to be replaced occurs in the file; with any number but one the break is invalid. */
export function countPlaces(text: string, one: Pick<Break, 'find'>): number {
  return text.split(one.find).length - 1
}

/** The file with the break in it. */
export function applyBreak(text: string, { find, replace }: Pick<Break, 'find' | 'replace'>): string {
  const at = text.indexOf(find)
  return text.slice(0, at) + replace + text.slice(at + find.length)
}
