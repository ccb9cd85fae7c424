import type { Budget } from '../config/budget-windows.ts'
import { type KeyTerms, readTerms } from '../config/key-terms.ts'
import type { AtRest } from '../jobs/at-rest.ts'
import type { RedisClient } from '../lib/redis.ts'
import { type CompiledFlow, compileFlow } from './compile.ts'
import { type FlowDefinition, type FlowStatus, type FlowUsage, noUsage } from './flow.ts'
import { keepBodySources } from './job-sources.ts'
import { flowKey } from './keys.ts'
import { decodeStep, type StepState } from './state.ts'

/** The number of steps by status, for lists. */
export type StepCounts = { total: number; completed: number; failed: number; skipped: number }

/** A flow's record. Times are Unix ms. */
export type FlowRecord = {
  id: string
  version: string
  status: FlowStatus
  name: string
  createdAt: number
  finishedAt: number | null
  expiresAt: number | null
  deadline: number | null
  budgetNano: number | null
  budgets: Budget[]
  costNano: number
  /** Calls whose lanes have no price. */
  unpricedCalls: number
  usage: FlowUsage
  counts: StepCounts
  stepCount: number
  group: string | null
  metadata: Record<string, string>
  retries: number
  /** The next look cancels the flow's open jobs. */
  isSettling: boolean
  /** The next look restarts what failed. */
  isRestarting: boolean
  isDeleted: boolean
  /** As `AtRest.sealError` writes it. */
  error: string | null
  output: Buffer | null
  requestId: string | null
  trace: string | null
  /** The terms of the key that created the flow. */
  terms: KeyTerms
}

/** The fields that a list needs. */
export const SUMMARY_FIELDS = [
  ...[
    'status',
    'name',
    'created_at',
    'finished_at',
    'expires_at',
    'deadline',
    'budget_nano',
    'budgets',
    'cost_nano',
    'unpriced_calls',
  ],
  ...['usage', 'counts', 'step_count', 'group', 'metadata', 'retries', 'deleted', 'error'],
]

/** A flow with everything that a look needs. */
export type LoadedFlow = {
  record: FlowRecord
  compiled: CompiledFlow
  steps: StepState[]
}

/** Parses the fields of a record; null: there is no flow. */
export function toFlowRecord(id: string, fields: ReadonlyMap<string, Buffer>): FlowRecord | null {
  const text = (name: string) => fields.get(name)?.toString() || null
  const number = (name: string) => (text(name) === null ? null : Number(text(name)))
  const json = <T>(name: string, otherwise: T): T => {
    const value = text(name)
    return value === null ? otherwise : (JSON.parse(value) as T)
  }
  const status = text('status')
  if (status === null) return null
  const stepCount = number('step_count') ?? 0
  return {
    id,
    version: text('version') ?? '',
    status: status as FlowStatus,
    name: text('name') ?? '',
    createdAt: number('created_at') ?? 0,
    finishedAt: number('finished_at'),
    expiresAt: number('expires_at'),
    deadline: number('deadline'),
    budgetNano: number('budget_nano'),
    budgets: json<Budget[]>('budgets', []),
    costNano: number('cost_nano') ?? 0,
    unpricedCalls: number('unpriced_calls') ?? 0,
    usage: json('usage', noUsage),
    counts: json('counts', { total: stepCount, completed: 0, failed: 0, skipped: 0 }),
    stepCount,
    group: text('group'),
    metadata: json('metadata', {}),
    retries: number('retries') ?? 0,
    isSettling: text('settling') !== null,
    isRestarting: text('restart') !== null,
    isDeleted: text('deleted') !== null,
    error: text('error'),
    output: fields.get('output') ?? null,
    requestId: text('request_id'),
    trace: text('trace'),
    terms: readTerms({ models: text('models'), payers: text('payers') }),
  }
}

/** Reads flows from Redis. */
export type FlowReader = {
  /** Loads a flow; null: there is none, or it was removed. Throws `UnreadableError` if it cannot be decrypted. */
  load(root: string, id: string, known?: CompiledFlow): Promise<LoadedFlow | null>
  /** Loads the record and the states of the steps, also of a removed flow. */
  loadState(root: string, id: string): Promise<{ record: FlowRecord; steps: StepState[] } | null>
}

/** Creates a reader of flows. */
export function createFlowReader({ redis, atRest }: { redis: RedisClient; atRest: AtRest }): FlowReader {
  async function readAll(root: string, id: string) {
    const key = flowKey(root, id)
    const [fields, steps, elements] = await Promise.all([
      redis.hgetallBuffer(key),
      redis.hgetall(`${key}:steps`),
      redis.hgetall(`${key}:elements`),
    ])
    const stored = new Map(Object.entries(fields))
    const record = toFlowRecord(id, stored)
    if (record === null) return null
    const byStep = new Map<number, Record<string, string>>()
    for (const [name, text] of Object.entries(elements)) {
      const [step, element] = name.split(':')
      const own = byStep.get(Number(step)) ?? {}
      own[element!] = text
      byStep.set(Number(step), own)
    }
    const states = Array.from({ length: record.stepCount }, (_, number) =>
      decodeStep(steps[String(number)], byStep.get(number)),
    )
    return { record, steps: states, definition: stored.get('definition') ?? null }
  }

  return {
    async load(root, id, known) {
      const found = await readAll(root, id)
      if (found === null || found.record.isDeleted || found.definition === null) return null
      const compiled = known ?? compileFlow(openDefinition(atRest, root, id, found.definition))
      return { record: found.record, steps: found.steps, compiled }
    },
    loadState: readAll,
  }
}

function openDefinition(atRest: AtRest, root: string, id: string, stored: Buffer): FlowDefinition {
  const definition = atRest.openBody(root, id, stored)
  keepBodySources(definition)
  return definition as FlowDefinition
}
