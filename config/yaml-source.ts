import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  type Scalar,
  type YAMLError,
} from 'yaml'
import { type Environment, expandVariables } from './environment.ts'
import type { ConfigFault, FaultPath } from './faults.ts'

/** A value that came, at least in part, from the environment. */
export type Expanded = {
  /** The text in the file: `${NAME}`. */
  source: string
  /** The whole scalar is one unquoted reference: where a number is expected, it may be one. */
  plain: boolean
}

export type YamlSource = {
  data: unknown
  faults: ConfigFault[]
  /** False: the text is not YAML, and `data` is undefined. */
  readable: boolean
  /** Line (from 1) of a value, or of the nearest value around it. */
  lineOf(path: FaultPath): number
  expandedAt(path: FaultPath): Expanded | undefined
}

// The parser's own messages for these quote the file, which may contain a secret there.
const quotingFaults: Readonly<Record<string, string>> = {
  BAD_ALIAS: 'a malformed alias or anchor; text that starts with "*" or "&" needs quotes',
  BAD_DIRECTIVE: 'a malformed directive',
  BAD_DQ_ESCAPE: 'an unknown escape in double quotes; in single quotes a backslash is literal',
  MULTIPLE_DOCS: 'more than one document in the file',
  RESOURCE_EXHAUSTION: 'nested too deeply',
  TAG_RESOLVE_FAILED: 'an unknown tag; text that starts with "!" needs quotes',
  UNEXPECTED_TOKEN: 'unexpected text; check quotes, brackets and indentation',
}

/** Parses YAML into plain data, replaces `${NAME}` in its values, and records the line of each value. */
export function readYaml({ text, env }: { text: string; env: Environment }): YamlSource {
  const lineCounter = new LineCounter()
  const document = parseDocument(text, { lineCounter, prettyErrors: false, uniqueKeys: false })
  const lines = new Map<string, number>()
  const expanded = new Map<string, Expanded>()
  const lineAt = (offset: number | undefined): number => Math.max(1, lineCounter.linePos(offset ?? 0).line)
  const lineOf = (path: FaultPath): number => {
    for (let length = path.length; length > 0; length -= 1) {
      const line = lines.get(keyOf(path.slice(0, length)))
      if (line !== undefined) return line
    }
    return 1
  }
  const expandedAt = (path: FaultPath): Expanded | undefined => expanded.get(keyOf(path))

  const broken = [...document.errors, ...document.warnings]
  if (broken.length > 0) {
    const faults = broken.map((error) => ({
      path: [],
      message: describeYamlError(error),
      line: lineAt(error.pos[0]),
    }))
    return { data: undefined, faults, readable: false, lineOf, expandedAt }
  }

  const faults: ConfigFault[] = []
  const data = walk(document.contents, [], [])
  return { data, faults, readable: true, lineOf, expandedAt }

  function walk(node: unknown, path: FaultPath, above: readonly Node[]): unknown {
    if (isAlias(node)) return walkAlias(node.resolve(document as Document), path, above)
    if (isScalar(node)) return readScalar(node, path)
    if (isSeq(node)) {
      return node.items.map((item, index) => {
        const itemPath = [...path, index]
        lines.set(keyOf(itemPath), lineAt((item as Node | null)?.range?.[0]))
        return walk(item, itemPath, [...above, node])
      })
    }
    if (!isMap(node)) return null
    const entries = new Map<string, unknown>()
    for (const pair of node.items) {
      const name = isScalar(pair.key) ? nameOf(pair.key) : null
      const line = lineAt((pair.key as Node | null)?.range?.[0])
      if (name === null) {
        faults.push({ path, message: 'a name that is not plain text', line })
        continue
      }
      const memberPath = [...path, name]
      if (entries.has(name)) {
        faults.push({ path: memberPath, message: `given twice; first in line ${lineOf(memberPath)}`, line })
        continue
      }
      lines.set(keyOf(memberPath), line)
      entries.set(name, walk(pair.value, memberPath, [...above, node]))
    }
    return Object.fromEntries(entries)
  }

  function walkAlias(target: Node | undefined, path: FaultPath, above: readonly Node[]): unknown {
    if (target !== undefined && !above.includes(target)) return walk(target, path, above)
    const message =
      target === undefined
        ? 'an alias ("*name") without its anchor; text that starts with "*" needs quotes'
        : 'an alias of a value that contains it'
    faults.push({ path, message })
    return undefined
  }

  function readScalar(scalar: Scalar, path: FaultPath): unknown {
    if (typeof scalar.value !== 'string') return scalar.value
    const expansion = expandVariables(scalar.value, env)
    for (const name of new Set(expansion.missing)) {
      faults.push({ path, message: `environment variable ${name} is not set` })
    }
    if (expansion.malformed)
      faults.push({
        path,
        message: `a "\${" that is neither \${NAME} nor \${NAME:-default}; write "$\${" for a literal one`,
      })
    if (expansion.replaced > 0) {
      const plain = expansion.whole && scalar.type === 'PLAIN'
      expanded.set(keyOf(path), { source: scalar.value, plain })
    }
    return expansion.text
  }
}

function nameOf(key: Scalar): string {
  // The text as written: a model named 4.10 is not 4.1.
  return typeof key.value === 'string' ? key.value : (key.source ?? String(key.value))
}

function describeYamlError(error: YAMLError): string {
  return `not YAML: ${quotingFaults[error.code] ?? error.message}`
}

function keyOf(path: FaultPath): string {
  return JSON.stringify(path)
}
