import { expect, test } from 'vitest'
import { readProductFiles } from './product-files.ts'

/** The dependencies of a part: `type WorkerDeps = {`, `createX(deps: {`. */
const OPENS = /(?:\btype \w*Deps\b(?:<[^>]*>)? = (?:\w+ & )?\{|\bdeps: \{)/g
const MOST = 10

/** Larger ones, which are still to be split. Nothing is added here. */
const WAITING: Record<string, number> = {
  'history/mover.ts': 12,
  'history/with-history.ts': 12,
  'jobs/work.ts': 11,
  'services/job-store.ts': 15,
}

/** The names of the members of the object type that begins after `from`, with `?` where they are optional. */
function readMembers(text: string, from: number): string[] {
  const members: string[] = []
  let depth = 1
  for (let at = from, line = ''; depth > 0; at++) {
    const one = text[at]!
    if (one === '{' || one === '(') depth++
    if (one === '}' || one === ')') depth--
    if (one !== '\n') {
      line += one
      continue
    }
    const named = /^ +(\w+\??)(?::|\()/.exec(line)
    const opened = (line.match(/[{(]/g) ?? []).length - (line.match(/[})]/g) ?? []).length
    if (named && depth - opened === 1) members.push(named[1]!)
    line = ''
  }
  return members
}

const found = [...readProductFiles()].flatMap(([path, text]) =>
  [...text.matchAll(OPENS)].map((match) => ({
    path,
    members: readMembers(text, match.index + match[0].length),
  })),
)

test('the dependencies of a part have at most ten members', () => {
  const large = found.filter(({ path, members }) => members.length > (WAITING[path] ?? MOST))
  expect(large).toEqual([])
})

test('the check finds those with more', () => {
  expect(found.find(({ path }) => path === 'workers/worker.ts')?.members).toHaveLength(10)
  expect(found.length).toBeGreaterThan(100)
})
