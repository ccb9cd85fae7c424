import { tenantRoot } from '../jobs/keys.ts'
import type { FlowStatus } from './flow.ts'
import type { FlowScripts } from './scripts.ts'

/** How long a flow that is being looked at is left alone by others: what the death of a worker costs it at most. */
const LEASE_MS = 5000

/** Ended jobs of one flow that are counted in one step. */
const ENDED_AT_ONCE = 1000

/** A flow that this process looks at. */
export type ClaimedFlow = { tenant: string; id: string; version: string; endings: string[] }

/** What a look at a flow came to; `Changes` of one flow are written together or not at all. */
export type Changes = {
  /** Ended jobs that were counted. */
  counted: number
  /** When to look again, Unix ms; null: when something happens. */
  lookAt: number | null
  status: FlowStatus | null
  /** Of the record; '' takes it out. */
  fields: Map<string, string | Buffer>
  steps: Map<number, string>
  values: Map<number, Buffer | string>
  /** By `<step>:<element>`; '' takes it out. */
  elements: Map<string, string>
  /** Names and further members, as JSON with a leading comma. */
  events: [string, string][]
}

/** What workers do with flows. */
export type FlowWork = {
  /** Flows of a tenant that are to be looked at, and the time till the next one is, ms; null: there is none. */
  claim(tenant: string, most: number): Promise<{ flows: ClaimedFlow[]; nextInMs: number | null }>
  /** False: somebody changed the flow meanwhile, and nothing was written. */
  advance(claimed: ClaimedFlow, changes: Changes): Promise<boolean>
  /** Forgets a flow whose time is over. False: it is to stay. */
  forget(tenant: string, id: string): Promise<boolean>
}

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
