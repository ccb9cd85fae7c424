import { type ExpressionNode, functionNames } from './expression.ts'

/** What an expression reads: members of steps and of the input, and the element of a `for_each`. */
export type References = {
  /** By step, the members that are read; `*` stands for all. */
  steps: Map<string, Set<string>>
  usesItem: boolean
  /** The top-level members of the input that must exist, because the expression has no alternative for them. */
  input: Set<string>
}

/** An expression uses a name or a function that does not exist. */
export class UnknownNameError extends Error {
  override readonly name = 'UnknownNameError'
}

/** The members of a step that an expression may read. */
const stepMembers = ['result', 'signal', 'status', 'error', 'job_id', 'jobs'] as const

const ROOT_NAMES = ['input', 'steps', 'item', 'index']

/** Functions whose arguments may be missing, because they handle missing values. */
const LENIENT_FUNCTIONS = new Set(['not_null', 'type', 'to_array', 'contains'])

/**
 * Finds what an expression reads, and refuses faults that are visible in it: unknown functions, unknown names, and `steps` without a
 * step's name, because then the dependencies would be unknown. Throws `UnknownNameError`.
 */
export function findReferences(node: ExpressionNode): References {
  const found: References = { steps: new Map(), usesItem: false, input: new Set() }

  function note(path: string[], isLenient: boolean): void {
    const [root, first, second] = path
    if (root === undefined)
      throw new UnknownNameError('names the whole context; name input, steps, item or index')
    if (!ROOT_NAMES.includes(root)) {
      throw new UnknownNameError(`unknown name ${JSON.stringify(root)}; there are ${ROOT_NAMES.join(', ')}`)
    }
    if (root === 'item' || root === 'index') found.usesItem = true
    if (root === 'input' && first !== undefined && !isLenient) found.input.add(first)
    if (root !== 'steps') return
    if (first === undefined) throw new UnknownNameError('name the step, as in steps.outline.result')
    if (second !== undefined && !(stepMembers as readonly string[]).includes(second)) {
      const choice = stepMembers.join(', ')
      throw new UnknownNameError(`steps.${first}.${second}: unknown member; a step has ${choice}`)
    }
    const members = found.steps.get(first) ?? new Set()
    found.steps.set(first, members.add(second ?? '*'))
  }

  /** The path of names that a node follows from the root; null: the node is not such a path. */
  function pathOf(node: ExpressionNode, atRoot: boolean): string[] | null {
    switch (node.type) {
      case 'Root':
        return []
      case 'Identity':
      case 'Current':
        return atRoot ? [] : null
      case 'Field':
        return atRoot ? [node.name] : null
      case 'Subexpression':
      case 'Pipe': {
        const left = pathOf(node.left, atRoot)
        if (left === null) return null
        const right = node.right
        if (right.type === 'Field') return [...left, right.name]
        const isChain = right.type === 'Subexpression' || right.type === 'Pipe'
        const rest = isChain ? pathOf(right, true) : null
        return rest === null ? null : [...left, ...rest]
      }
      default:
        return null
    }
  }

  /** @param atRoot true: the node is evaluated with the context itself */
  function walk(node: ExpressionNode, atRoot: boolean, isLenient: boolean): void {
    const path = pathOf(node, atRoot)
    if (path !== null) note(path, isLenient)
    else for (const part of listParts(node, atRoot, isLenient)) walk(part.node, part.atRoot, part.isLenient)
  }

  walk(node, true, false)
  return found
}

type NodePart = { node: ExpressionNode; atRoot: boolean; isLenient: boolean }

/** The parts of a node, and what each is evaluated with. Throws `UnknownNameError`. */
function listParts(node: ExpressionNode, atRoot: boolean, isLenient: boolean): NodePart[] {
  const toParts = (nodes: ExpressionNode[], lenient = isLenient): NodePart[] =>
    nodes.map((one) => ({ node: one, atRoot, isLenient: lenient }))
  /** A part that is evaluated with an intermediate value of the expression. */
  const inner = (one: ExpressionNode): NodePart => ({ node: one, atRoot: false, isLenient: true })
  switch (node.type) {
    case 'Function':
      if (!functionNames.includes(node.name)) throw new UnknownNameError(`unknown function ${node.name}()`)
      return toParts(node.children, isLenient || LENIENT_FUNCTIONS.has(node.name))
    case 'ExpressionReference':
      return [inner(node.child)]
    case 'Subexpression':
    case 'Pipe':
    case 'IndexExpression':
    case 'Projection':
    case 'ValueProjection': {
      const right = { node: node.right, atRoot: isTransparent(node.left) && atRoot, isLenient: true }
      return [...toParts([node.left]), right]
    }
    case 'FilterProjection':
      return [...toParts([node.left]), inner(node.condition), inner(node.right)]
    case 'OrExpression':
    case 'AndExpression':
    case 'Comparator':
      return toParts([node.left, node.right], true)
    case 'Arithmetic':
      return toParts([node.left, node.right])
    case 'Ternary':
      return toParts([node.condition, node.trueExpr, node.falseExpr], true)
    case 'NotExpression':
      return toParts([node.child], true)
    case 'Flatten':
      return toParts([node.child])
    case 'Unary':
      return toParts([node.operand])
    case 'MultiSelectList':
      return toParts(node.children)
    case 'MultiSelectHash':
      return toParts(node.children.map(({ value }) => value))
    case 'LetExpression':
      return toParts([...node.bindings.map(({ reference }) => reference), node.expression])
    default:
      return []
  }
}

/** True if the node returns its input, so that the node after it is evaluated with the same value. */
function isTransparent(node: ExpressionNode): boolean {
  return node.type === 'Identity' || node.type === 'Current' || node.type === 'Root'
}
