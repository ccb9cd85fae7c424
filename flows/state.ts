import type { FlowUsage } from './flow.ts'

/** The phase of a step. `active`: it has jobs, or is about to. */
export type Phase = 'blocked' | 'waiting' | 'active' | 'completed' | 'failed' | 'skipped'

/** Why a step was skipped: its `when` was false, too few of its needs completed, or it failed with `on_failure: skip`. */
export type SkipReason = 'when' | 'needs' | 'failure'

/**
 * The status of an element that is not simply open or completed at its first attempt.
 * `open`, `done`: at a later attempt. `failed`, `cancelled`: how its job ended. `redo`: it needs a new job.
 * `early_…`: how its job ended before its turn, because a runner created the job and died before it recorded it.
 */
export type ElementStatus =
  | 'open'
  | 'done'
  | 'failed'
  | 'cancelled'
  | 'redo'
  | 'early_done'
  | 'early_failed'
  | 'early_cancelled'
/** The latest attempt of an element, from 1, and its status. */
export type ElementState = { attempt: number; status: ElementStatus }

/** The stored state of a step. A step without `for_each` has one element. Times are Unix ms. */
export type StepState = {
  phase: Phase
  /** The number of elements; null: not known yet. */
  total: number | null
  /** Elements below this index have jobs. */
  next: number
  /** The number of completed elements. */
  done: number
  startedAt: number | null
  finishedAt: number | null
  /** When the wait for the signal ends; null: the step does not wait. */
  waitsUntil: number | null
  reason: SkipReason | null
  /** As `AtRest.sealError` writes it; null: none. */
  error: string | null
  /** True: its value is stored with the flow (a signal, or the replacement for a failed result). */
  hasValue: boolean
  elements: Map<number, ElementState>
}

/** The state of a step before it begins. */
export function blockedStep(): StepState {
  return {
    phase: 'blocked',
    total: null,
    next: 0,
    done: 0,
    startedAt: null,
    finishedAt: null,
    waitsUntil: null,
    reason: null,
    error: null,
    hasValue: false,
    elements: new Map(),
  }
}

/** True if the step has its final outcome. */
export function isSettled({ phase }: Pick<StepState, 'phase'>): boolean {
  return phase === 'completed' || phase === 'failed' || phase === 'skipped'
}

const ENDED = new Set<ElementStatus>([
  ...(['failed', 'cancelled', 'redo', 'early_done', 'early_failed', 'early_cancelled'] as const),
])

/** Counts elements whose jobs have not ended, as far as is recorded. */
export function countOpen(step: StepState): number {
  let ended = 0
  for (const [index, { status }] of step.elements) if (index < step.next && ENDED.has(status)) ended++
  return step.next - step.done - ended
}

/** Counts elements whose latest job failed. */
export function countFailed(step: Pick<StepState, 'elements' | 'next'>): number {
  let failed = 0
  for (const [index, { status }] of step.elements) if (status === 'failed' && index < step.next) failed++
  return failed
}

/** Lists the elements that wait for a new job, or for their early job to be taken over. */
export function listRedo(step: StepState): number[] {
  const redo: number[] = []
  for (const [index, { status }] of step.elements) {
    const waits =
      status === 'redo' ||
      status === 'early_done' ||
      status === 'early_failed' ||
      status === 'early_cancelled'
    if (waits && index < step.next) redo.push(index)
  }
  return redo
}

/** The number of an element's latest attempt, from 1. */
export function attemptOf(step: StepState, index: number): number {
  return step.elements.get(index)?.attempt ?? 1
}

type Stored = {
  p: Phase
  n?: number
  x?: number
  d?: number
  s?: number
  e?: number
  w?: number
  r?: SkipReason
  v?: 1
  o?: string
  err?: string
}

/** Encodes a step as one field. The elements of a `for_each` have fields of their own. */
export function encodeStep(step: StepState, hasElements: boolean): string {
  const only = hasElements ? undefined : step.elements.get(0)
  const stored: Stored = {
    p: step.phase,
    ...(step.total === null ? {} : { n: step.total }),
    ...(step.next === 0 ? {} : { x: step.next }),
    ...(step.done === 0 ? {} : { d: step.done }),
    ...(step.startedAt === null ? {} : { s: step.startedAt }),
    ...(step.finishedAt === null ? {} : { e: step.finishedAt }),
    ...(step.waitsUntil === null ? {} : { w: step.waitsUntil }),
    ...(step.reason === null ? {} : { r: step.reason }),
    ...(step.hasValue ? { v: 1 } : {}),
    ...(only === undefined ? {} : { o: encodeElement(only) }),
    ...(step.error === null ? {} : { err: step.error }),
  }
  return JSON.stringify(stored)
}

/** @param elements the fields of the elements of a `for_each` */
export function decodeStep(text: string | undefined, elements: Record<string, string> = {}): StepState {
  if (text === undefined) return blockedStep()
  const stored = JSON.parse(text) as Stored
  const found = new Map(Object.entries(elements).map(([index, one]) => [Number(index), decodeElement(one)]))
  if (stored.o !== undefined) found.set(0, decodeElement(stored.o))
  return {
    phase: stored.p,
    total: stored.n ?? null,
    next: stored.x ?? 0,
    done: stored.d ?? 0,
    startedAt: stored.s ?? null,
    finishedAt: stored.e ?? null,
    waitsUntil: stored.w ?? null,
    reason: stored.r ?? null,
    error: stored.err ?? null,
    hasValue: stored.v === 1,
    elements: found,
  }
}

/** Encodes an element's state as one field, such as `2 failed`. */
export function encodeElement({ attempt, status }: ElementState): string {
  return `${attempt} ${status}`
}

function decodeElement(text: string): ElementState {
  const [attempt, status] = text.split(' ')
  return { attempt: Number(attempt), status: status as ElementStatus }
}

/** How a job of the flow ended, as the script that ended it reported. */
export type Ending = {
  step: number
  index: number
  attempt: number
  status: 'completed' | 'failed' | 'cancelled' | 'deleted'
  /** Unix ms. */
  at: number
  usage: FlowUsage | null
}

/** Parses what `tell_flow` in jobs/lua/common.lua writes. */
export function decodeEnding(text: string): Ending {
  const [step, index, attempt, status, at, ...usage] = text.split(' ')
  const usageText = usage.join(' ')
  return {
    step: Number(step),
    index: Number(index),
    attempt: Number(attempt),
    status: status as Ending['status'],
    at: Number(at),
    usage: usageText === '' ? null : (JSON.parse(usageText) as FlowUsage),
  }
}
