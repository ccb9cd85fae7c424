/**
 * The part of Go's templates that the Helm chart needs: actions, pipelines, variables, `define`, `if`, `with`,
 * `range`, and trimming. Anything else is an error. `npm run chart:check` compares it with Go itself.
 */
export type GoTemplates = {
  /** Adds the templates that a file defines, and the file under its name. */
  add(name: string, text: string): void
  execute(name: string, data: unknown): string
}

export type GoFunction = (...args: unknown[]) => unknown

type Node =
  | { kind: 'text'; text: string }
  | { kind: 'print'; pipe: Pipe }
  | { kind: 'if'; pipe: Pipe; body: Node[]; else: Node[] }
  | { kind: 'with'; pipe: Pipe; body: Node[]; else: Node[] }
  | { kind: 'range'; names: string[]; pipe: Pipe; body: Node[]; else: Node[] }
type Pipe = { variable: { name: string; isNew: boolean } | null; commands: Term[][] }
type Term =
  | { kind: 'value'; value: unknown }
  | { kind: 'function'; name: string }
  | { kind: 'path'; from: '.' | string | Pipe; fields: string[] }
  | { kind: 'pipe'; pipe: Pipe }

/** Variables of a block, followed by those of the blocks around it. */
type Scope = { own: Map<string, unknown>; outer: Scope | null }

export function createGoTemplates(functions: Record<string, GoFunction>): GoTemplates {
  const templates = new Map<string, Node[]>()
  const own: Record<string, GoFunction> = {
    ...functions,
    include: (name, data) => execute(String(name), data),
    eq: (one, ...others) => others.some((other) => other === one),
    ne: (one, other) => one !== other,
    not: (value) => !isTrue(value),
  }

  function execute(name: string, data: unknown): string {
    const nodes = templates.get(name)
    if (nodes === undefined) throw new Error(`no template ${name}`)
    return render(nodes, data, { own: new Map([['$', data]]), outer: null })
  }

  function render(nodes: Node[], dot: unknown, scope: Scope): string {
    return nodes.map((node) => renderNode(node, dot, scope)).join('')
  }

  function renderNode(node: Node, dot: unknown, scope: Scope): string {
    if (node.kind === 'text') return node.text
    if (node.kind === 'print') {
      const value = evaluate(node.pipe, dot, scope)
      return node.pipe.variable !== null || value === undefined || value === null ? '' : String(value)
    }
    const inner: Scope = { own: new Map(), outer: scope }
    const value = evaluate(node.pipe, dot, inner)
    if (node.kind === 'if') return render(isTrue(value) ? node.body : node.else, dot, inner)
    if (node.kind === 'with')
      return isTrue(value) ? render(node.body, value, inner) : render(node.else, dot, inner)
    if (!isTrue(value)) return render(node.else, dot, inner)
    const entries = Array.isArray(value) ? [...value.entries()] : sortedEntries(value as object)
    return entries
      .map(([key, one]) => {
        const [first, second] = node.names
        if (second !== undefined) inner.own.set(first!, key).set(second, one)
        else if (first !== undefined) inner.own.set(first, one)
        return render(node.body, one, { own: new Map(), outer: inner })
      })
      .join('')
  }

  function evaluate({ variable, commands }: Pipe, dot: unknown, scope: Scope): unknown {
    let value: unknown
    for (const [at, command] of commands.entries())
      value = runCommand(command, dot, scope, at === 0 ? [] : [value])
    if (variable !== null) {
      const place = variable.isNew ? scope : findScope(variable.name, scope)
      place.own.set(variable.name, value)
    }
    return value
  }

  function runCommand([first, ...rest]: Term[], dot: unknown, scope: Scope, piped: unknown[]): unknown {
    if (first?.kind !== 'function') {
      if (rest.length > 0 || piped.length > 0) throw new Error('only functions take arguments')
      return readTerm(first!, dot, scope)
    }
    const read = (term: Term) => readTerm(term, dot, scope)
    // These evaluate no more than they need.
    if (first.name === 'and' || first.name === 'or') {
      let value: unknown
      for (const term of rest) {
        value = read(term)
        if (isTrue(value) === (first.name === 'or')) return value
      }
      return value
    }
    const call = own[first.name]
    if (call === undefined) throw new Error(`no function ${first.name}`)
    return call(...rest.map(read), ...piped)
  }

  function readTerm(term: Term, dot: unknown, scope: Scope): unknown {
    if (term.kind === 'value') return term.value
    if (term.kind === 'pipe') return evaluate(term.pipe, dot, scope)
    if (term.kind === 'function') return runCommand([term], dot, scope, [])
    const { from, fields } = term
    let value: unknown =
      from === '.'
        ? dot
        : typeof from === 'string'
          ? findScope(from, scope).own.get(from)
          : evaluate(from, dot, scope)
    for (const field of fields) {
      if (value === undefined || value === null) throw new Error(`nil: no field ${field}`)
      if (typeof value !== 'object') throw new Error(`no field ${field} in ${String(value)}`)
      value = (value as Record<string, unknown>)[field]
    }
    return value
  }

  return {
    add: (name, text) => {
      for (const [defined, nodes] of parseFile(name, text)) templates.set(defined, nodes)
    },
    execute,
  }
}

function findScope(name: string, scope: Scope): Scope {
  for (let at: Scope | null = scope; at !== null; at = at.outer) if (at.own.has(name)) return at
  throw new Error(`no variable ${name}`)
}

/** What Go counts as true: not zero, and not empty. */
export function isTrue(value: unknown): boolean {
  if (Array.isArray(value)) return value.length > 0
  if (typeof value === 'object' && value !== null) return Object.keys(value).length > 0
  return Boolean(value)
}

function sortedEntries(value: object): [string, unknown][] {
  return Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1))
}

type Piece = { kind: 'text' | 'action'; text: string }

function split(text: string): Piece[] {
  const pieces: Piece[] = []
  const action = /\{\{(-\s)?\s*(\/\*[\s\S]*?\*\/|(?:"(?:[^"\\]|\\.)*"|`[^`]*`|(?!\}\}).)*?)\s*(\s-)?\}\}/g
  let last = 0
  let trimsNext = false
  for (const match of text.matchAll(action)) {
    const [whole, before, inner, after] = match
    let between = text.slice(last, match.index)
    if (trimsNext) between = between.trimStart()
    if (before) between = between.trimEnd()
    pieces.push({ kind: 'text', text: between })
    if (!inner!.startsWith('/*')) pieces.push({ kind: 'action', text: inner!.trim() })
    last = match.index + whole.length
    trimsNext = Boolean(after)
  }
  const rest = text.slice(last)
  pieces.push({ kind: 'text', text: trimsNext ? rest.trimStart() : rest })
  const open = pieces.find((piece) => piece.kind === 'text' && piece.text.includes('{{'))
  if (open) throw new Error(`an action that does not end: ${open.text.slice(open.text.indexOf('{{'), 80)}`)
  return pieces
}

function parseFile(file: string, text: string): Map<string, Node[]> {
  const pieces = split(text)
  const defined = new Map<string, Node[]>()
  let at = 0

  function parseNodes(isTop: boolean): { nodes: Node[]; end: string } {
    const nodes: Node[] = []
    while (at < pieces.length) {
      const piece = pieces[at++]!
      if (piece.kind === 'text') {
        nodes.push({ kind: 'text', text: piece.text })
        continue
      }
      const [, word = '', rest = ''] = /^(\S+)\s*([\s\S]*)$/.exec(piece.text) ?? []
      if (word === 'end' || word === 'else') {
        if (isTop) throw new Error(`${file}: ${word} without a beginning`)
        return { nodes, end: piece.text }
      }
      if (word === 'define') {
        const name = JSON.parse(rest) as string
        const body = parseNodes(false)
        if (body.end !== 'end') throw new Error(`${file}: ${name} ends with ${body.end}`)
        defined.set(name, body.nodes)
      } else if (word === 'if' || word === 'with' || word === 'range') nodes.push(parseBlock(word, rest))
      else nodes.push({ kind: 'print', pipe: parsePipe(tokenize(piece.text)) })
    }
    if (!isTop) throw new Error(`${file}: a block without an end`)
    return { nodes, end: '' }
  }

  function parseBlock(word: 'if' | 'with' | 'range', text: string): Node {
    const names: string[] = []
    const loop = word === 'range' ? /^(\$\w+)(?:\s*,\s*(\$\w+))?\s*:=\s*/.exec(text) : null
    if (loop) names.push(...loop.slice(1).filter((name) => name !== undefined))
    const pipe = parsePipe(tokenize(text.slice(loop?.[0].length ?? 0)))
    const body = parseNodes(false)
    let otherwise: Node[] = []
    if (body.end.startsWith('else if ')) otherwise = [parseBlock('if', body.end.slice('else if '.length))]
    else if (body.end === 'else') otherwise = parseNodes(false).nodes
    const parts = { pipe, body: body.nodes, else: otherwise }
    return word === 'range' ? { kind: word, names, ...parts } : { kind: word, ...parts }
  }

  defined.set(file, parseNodes(true).nodes)
  return defined
}

function tokenize(text: string): string[] {
  const token = /\s*("(?:[^"\\]|\\.)*"|`[^`]*`|:=|=|\||\(|\)(?:\.\w+)*|\$?(?:\.?\w+)(?:\.\w+)*|\$|\.|-?\d+)/y
  const tokens: string[] = []
  while (token.lastIndex < text.trimEnd().length) {
    const from = token.lastIndex
    const match = token.exec(text)
    if (match === null) throw new Error(`not understood: ${text.slice(from)}`)
    tokens.push(match[1]!)
  }
  return tokens
}

function parsePipe(tokens: string[]): Pipe {
  const [first, second] = tokens
  if (first?.startsWith('$') && (second === ':=' || second === '=')) {
    const { commands } = parsePipe(tokens.slice(2))
    return { variable: { name: first, isNew: second === ':=' }, commands }
  }
  const commands: Term[][] = [[]]
  for (let at = 0; at < tokens.length; at++) {
    const token = tokens[at]!
    if (token === '|') commands.push([])
    else if (token === '(') {
      const end = findClosing(tokens, at)
      const pipe = parsePipe(tokens.slice(at + 1, end))
      const fields = tokens[end]!.split('.').slice(1)
      commands.at(-1)!.push(fields.length > 0 ? { kind: 'path', from: pipe, fields } : { kind: 'pipe', pipe })
      at = end
    } else commands.at(-1)!.push(parseTerm(token))
  }
  if (commands.some((command) => command.length === 0)) throw new Error(`empty: ${tokens.join(' ')}`)
  return { variable: null, commands }
}

function findClosing(tokens: string[], open: number): number {
  let depth = 0
  for (let at = open; at < tokens.length; at++) {
    if (tokens[at] === '(') depth++
    else if (tokens[at]!.startsWith(')') && --depth === 0) return at
  }
  throw new Error(`a bracket that does not close: ${tokens.join(' ')}`)
}

function parseTerm(token: string): Term {
  if (token.startsWith('"')) return { kind: 'value', value: JSON.parse(token) }
  if (token.startsWith('`')) return { kind: 'value', value: token.slice(1, -1) }
  if (/^-?\d+$/.test(token)) return { kind: 'value', value: Number(token) }
  if (token === 'true' || token === 'false') return { kind: 'value', value: token === 'true' }
  if (token === 'nil') return { kind: 'value', value: null }
  if (token.startsWith('.')) return { kind: 'path', from: '.', fields: token.split('.').filter(Boolean) }
  if (!token.startsWith('$')) return { kind: 'function', name: token }
  const [name, ...fields] = token.split('.')
  return { kind: 'path', from: name!, fields }
}
