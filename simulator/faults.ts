import { hash } from 'node:crypto'
import {
  FAULT_KINDS,
  type FaultKind,
  type FaultRule,
  LINE_FAULT_KINDS,
  type LineFaultKind,
} from './options.ts'

/** A fault of one call, with its settings filled in. */
export type SimulatedFault = { kind: FaultKind | LineFaultKind; retryAfterMs: number; ms: number }

type FaultQuestion = {
  path: string
  /** The body of the request as text. */
  text: string
  /** The API key; null: none was sent. */
  key: string | null
  /** The header `x-sim-fault`, in the form of markers: `KIND:times=2:retry_after=500`. */
  header: string | undefined
  /** Lists the texts that may contain a marker. Called only if the body contains one. */
  prompts: () => string[]
}

/** Decides which calls get a fault. */
export type FaultBook = {
  /** Chooses the fault for a call and counts it; null: none. Precedence: header, markers, then rules in order. */
  choose(question: FaultQuestion): SimulatedFault | null
  /** Replaces the rules that were set at run time. */
  setRules(rules: FaultRule[]): void
  /** Resets the count of each fault, and removes the rules that were set at run time. */
  reset(): void
}

const MARKER = /\[\[fault:([^\]]{1,100})\]\]/
const DEFAULT_RETRY_AFTER_MS = 1000
const DEFAULT_MS: Partial<Record<FaultKind | LineFaultKind, number>> = { slow: 5000, drip: 100 }

/** Keeps the rules of all sources and counts how often each applied. `random` decides about rates. */
export function createFaultBook(configured: readonly FaultRule[], random: () => number): FaultBook {
  let runtime: FaultRule[] = []
  let struck = new Map<FaultRule | string, number>()

  /** Returns true and counts the fault, if it may happen once more. */
  function spend(key: FaultRule | string, times: number | undefined): boolean {
    if (times === undefined) return true
    const count = struck.get(key) ?? 0
    if (count >= times) return false
    struck.set(key, count + 1)
    return true
  }

  function chooseMarker(question: FaultQuestion): SimulatedFault | null {
    if (!question.text.includes('[[fault:')) return null
    for (const prompt of question.prompts()) {
      const match = MARKER.exec(prompt)
      const rule = match && parseFault(match[1]!)
      if (!rule || !strikes(rule, question)) continue
      if (spend(hash('sha1', `${question.path}\n${prompt}`), rule.times)) return fillIn(rule)
    }
    return null
  }

  function chooseRule(question: FaultQuestion): SimulatedFault | null {
    for (const rule of [...runtime, ...configured]) {
      if (!strikes(rule, question)) continue
      if (rule.path !== undefined && !question.path.includes(rule.path)) continue
      if (rule.match !== undefined && !question.text.includes(rule.match)) continue
      if (rule.key !== undefined && rule.key !== question.key) continue
      if (rule.rate !== undefined && random() >= rule.rate) continue
      if (spend(rule, rule.times)) return fillIn(rule)
    }
    return null
  }

  return {
    choose(question) {
      const rule = question.header === undefined ? null : parseFault(question.header)
      if (rule && spend(hash('sha1', `${question.header}\n${question.text}`), rule.times)) return fillIn(rule)
      return chooseMarker(question) ?? chooseRule(question)
    },
    setRules(rules) {
      runtime = rules
    },
    reset() {
      runtime = []
      struck = new Map()
    },
  }
}

/** The path of batch lines. Only they get the faults of lines. */
export const LINE_PATH = '/v1/batches/line'

function strikes({ kind }: FaultRule, { path }: FaultQuestion): boolean {
  return path === LINE_PATH || !(LINE_FAULT_KINDS as readonly string[]).includes(kind)
}

/** Reads `KIND:times=N:retry_after=MS:ms=MS`; null for a kind that does not exist. Unknown members are ignored. */
export function parseFault(text: string): FaultRule | null {
  const [kind, ...members] = text.split(':').map((part) => part.trim())
  const known = [...FAULT_KINDS, ...LINE_FAULT_KINDS].find((one) => one === kind)
  if (!known) return null
  const rule: FaultRule = { kind: known }
  for (const member of members) {
    const [name, value] = member.split('=')
    const number = Number(value)
    if (!Number.isFinite(number)) continue
    if (name === 'times' || name === 'retry_after' || name === 'ms' || name === 'rate') rule[name] = number
  }
  return rule
}

function fillIn(rule: FaultRule): SimulatedFault {
  return {
    kind: rule.kind,
    // OpenAI names no time if flex has no capacity.
    retryAfterMs: rule.retry_after ?? (rule.kind === 'flex_unavailable' ? 0 : DEFAULT_RETRY_AFTER_MS),
    ms: rule.ms ?? DEFAULT_MS[rule.kind] ?? 0,
  }
}
