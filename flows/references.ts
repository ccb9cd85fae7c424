import { type ExpressionNode, functionNames } from './expression.ts'

/** What an expression reads: members of steps, of the input, and of the element of a `for_each`. */
export type References = {
  /** By step: its members that are read; `*` is all of them. */
  steps: Map<string, Set<string>>
  usesItem: boolean
  /** First members of the input that have to be there: no alternative stands beside them. */
  input: Set<string>
}

/** An expression names what there is not. */
export class UnknownNameError extends Error {
  override readonly name = 'UnknownNameError'
}

/** What of a step an expression may read. */
const stepMembers = ['result', 'signal', 'status', 'error', 'job_id', 'jobs'] as const

const ROOT_NAMES = ['input', 'steps', 'item', 'index']

/** Functions and operators behind which a value may be missing: they are there to say what then. */
const LENIENT_FUNCTIONS = new Set(['not_null', 'type', 'to_array', 'contains'])

/**
 * Finds what an expression reads, and refuses what can be seen to be wrong: functions that there are not, names that mean nothing, and
 * `steps` where no step is named, for then nobody could tell what has to end first. Throws `UnknownNameError`.
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

  /** The path of names that a node follows from the root; null: it is something else. */
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

  /** @param atRoot whether the node is looked at with the context itself */
  function walk(node: ExpressionNode, atRoot: boolean, isLenient: boolean): void {
    const path = pathOf(node, atRoot)
    if (path !== null) note(path, isLenient)
    else for (const part of listParts(node, atRoot, isLenient)) walk(part.node, part.atRoot, part.isLenient)
  }

  walk(node, true, false)
  return found
}

type NodePart = { node: ExpressionNode; atRoot: boolean; isLenient: boolean }

/** What a node is made of, and what each part is looked at with. Throws `UnknownNameError`. */
function listParts(node: ExpressionNode, atRoot: boolean, isLenient: boolean): NodePart[] {
  const toParts = (nodes: ExpressionNode[], lenient = isLenient): NodePart[] =>
    nodes.map((one) => ({ node: one, atRoot, isLenient: lenient }))
  /** Evaluated with something that comes out of the expression. */
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

/** Hands its own value on, so that what stands behind is looked at with the same. */
function isTransparent(node: ExpressionNode): boolean {
  return node.type === 'Identity' || node.type === 'Current' || node.type === 'Root'
}
