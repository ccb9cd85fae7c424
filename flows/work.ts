import { tenantRoot } from '../jobs/keys.ts'
import type { FlowStatus } from './flow.ts'
import type { FlowScripts } from './scripts.ts'

/** The lease of a claimed flow, ms: no other worker claims it meanwhile. If the worker dies, the flow waits this long. */
const LEASE_MS = 5000

/** The most ended jobs of one flow that are counted in one look. */
const ENDED_AT_ONCE = 1000

/** A flow that this process has claimed. */
export type ClaimedFlow = { tenant: string; id: string; version: string; endings: string[] }

/** The changes of one look. They are written in one step or not at all. */
export type Changes = {
  /** The number of ended jobs that were counted. */
  counted: number
  /** When to look again, Unix ms; null: when something happens to the flow. */
  lookAt: number | null
  status: FlowStatus | null
  /** Fields of the record; '' deletes a field. */
  fields: Map<string, string | Buffer>
  steps: Map<number, string>
  values: Map<number, Buffer | string>
  /** By `<step>:<element>`; '' deletes a field. */
  elements: Map<string, string>
  /** Event names, each with further members as JSON text with a leading comma. */
  events: [string, string][]
}

/** What workers do with flows. */
export type FlowWork = {
  /** Claims due flows of a tenant. `nextInMs`: the time until the next one is due, ms; null: there is none. */
  claim(tenant: string, most: number): Promise<{ flows: ClaimedFlow[]; nextInMs: number | null }>
  /** Writes the changes. False: the flow was changed meanwhile, and nothing was written. */
  advance(claimed: ClaimedFlow, changes: Changes): Promise<boolean>
  /** Deletes a flow whose time is over. False: it was retried meanwhile and stays. */
  forget(tenant: string, id: string): Promise<boolean>
}

/** Creates the workers' side of flows. `retainMs`: how long a flow is kept after its end, ms. */
export function createFlowWork(deps: {
  scripts: FlowScripts
  prefix: string
  retainMs: () => number
  leaseMs?: number
}): FlowWork {
  const { scripts, prefix, retainMs, leaseMs = LEASE_MS } = deps
  return {
    async claim(tenant, most) {
      const answer = await scripts('claim', tenantRoot(prefix, tenant), [most, leaseMs, ENDED_AT_ONCE])
      const [, next, ...rest] = answer as [string, string, ...unknown[]]
      const flows: ClaimedFlow[] = []
      for (let at = 0; at < rest.length; at += 3) {
        const [id, version, endings] = rest.slice(at, at + 3) as [string, string, string[]]
        flows.push({ tenant, id, version, endings })
      }
      return { flows, nextInMs: next === '' ? null : Number(next) }
    },

    async advance({ tenant, id, version }, changes) {
      const { fields, steps, values, elements, events } = changes
      const parts = [fields, steps, values, elements].map((part) => [...(part as Map<string, string>)])
      const answer = await scripts('advance', tenantRoot(prefix, tenant), [
        id,
        version,
        changes.counted,
        changes.lookAt === null ? '' : Math.ceil(changes.lookAt),
        changes.status ?? '',
        retainMs(),
        [...parts.map((part) => part.length), events.length].join(' '),
        ...parts.flat(2),
        ...events.flat(),
      ])
      return (answer as string[])[0] === 'ok'
    },

    async forget(tenant, id) {
      return (await scripts('forget', tenantRoot(prefix, tenant), [id])) === 1
    },
  }
}

/** Changes that change nothing, to fill in. */
export function noChanges(): Changes {
  return {
    counted: 0,
    lookAt: null,
    status: null,
    fields: new Map(),
    steps: new Map(),
    values: new Map(),
    elements: new Map(),
    events: [],
  }
}
