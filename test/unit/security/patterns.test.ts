import { globSync, readFileSync } from 'node:fs'
import { Script } from 'node:vm'
import { parseSync, Visitor } from 'oxc-parser'
import { expect, test } from 'vitest'

const root = new URL('../../../', import.meta.url).pathname
const HOUSE = '{api,batches,cli,config,files,jobs,lib,providers,ratelimit,webhooks,workers}/**/*.ts'

/** Long enough that quadratic time shows. */
const LENGTH = 20_000
const MOST_MS = 60

/** Slow over texts that only the operator of the service can write. */
const EXCUSED: Record<string, string> = {
  '/\\/+$/': 'trims addresses of the configuration and of the command line',
}

type Pattern = { path: string; source: string; flags: string }

const patterns: Pattern[] = []
const built: string[] = []
for (const path of [...globSync(HOUSE, { cwd: root }), 'main.ts', 'services.ts', 'tryout.ts']) {
  const { program } = parseSync(path, readFileSync(root + path, 'utf8'))
  new Visitor({
    Literal(node) {
      if ('regex' in node) patterns.push({ path, source: node.regex.pattern, flags: node.regex.flags })
    },
    NewExpression(node) {
      if (node.callee.type === 'Identifier' && node.callee.name === 'RegExp') built.push(path)
    },
  }).visit(program)
}

/**
 * Texts that make patterns slow: one character, or two in turn, again and again, and then something that does not
 * match.
 */
function makeAttacks({ source }: Pattern): string[] {
  const own = source.replaceAll(/\\[dDwWsSbBpPnrtxu]|[\^$.*+?()[\]{}|\\]/g, '')
  const characters = [...new Set([...own.slice(0, 12), ...' \ta0_-./"'])]
  const pairs = [...own.slice(0, 5)].flatMap((a) => [...own.slice(0, 5)].map((b) => a + b))
  const head = /^\^?((?:[\w :/-]|\\[/-])*)/.exec(source)?.[1]?.replaceAll('\\', '') ?? ''
  const heads = new Set(['', head, '"'])
  return [...heads].flatMap((start) =>
    [...new Set([...characters, ...pairs])].map(
      (piece) => `${start}${piece.repeat(LENGTH / piece.length)}\0\n!`,
    ),
  )
}

/**
 * Times the pattern over each text; one that is cut off took too long. A pause of the machine does not count against
 * the pattern.
 */
const measure = new Script(`
  const pattern = new RegExp(source, flags)
  const time = (text) => {
    const startedAt = now()
    pattern.test(text)
    pattern.lastIndex = 0
    return now() - startedAt
  }
  attacks.find((text) => time(text) > most && time(text) > most)
`)

/** A text over which the pattern takes too long, shortened; null: there is none. */
function findAttack(pattern: Pattern): string | null {
  const now = () => performance.now()
  const context = { ...pattern, attacks: makeAttacks(pattern), most: MOST_MS, now }
  try {
    const found = measure.runInNewContext(context, { timeout: 1_500 })
    return found === undefined ? null : found.slice(0, 20)
  } catch {
    return 'one of the texts'
  }
}

test('the product has patterns, all of them written out', () => {
  expect(patterns.length).toBeGreaterThan(50)
  expect(built).toEqual([])
})

test.each(['^(?:a|ab?)*$', '\\s+$', '^\\d+\\d+$'])(
  'the measure finds that %s takes quadratic time, or worse',
  (source) => {
    expect(findAttack({ path: 'none', source, flags: '' })).not.toBeNull()
  },
)

test('no pattern takes long over any text', { timeout: 120_000 }, () => {
  const unique = new Map(patterns.map((pattern) => [`/${pattern.source}/${pattern.flags}`, pattern]))
  const slow = [...unique].flatMap(([text, pattern]) => {
    const attack = text in EXCUSED ? null : findAttack(pattern)
    return attack === null ? [] : [`${pattern.path}: ${text} takes too long over ${JSON.stringify(attack)}…`]
  })
  expect(slow).toEqual([])
})
