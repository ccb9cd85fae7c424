import type { Jobs } from '../jobs/jobs.ts'
import { tenantRoot } from '../jobs/keys.ts'
import type { JsonValue } from '../lib/json.ts'
import { type OnUpkeepFailure, visitAll } from '../lib/visit-all.ts'
import { createWaker } from '../lib/waker.ts'
import { lookAtFlow } from './advance.ts'
import type { AdvanceDeps, CachedFlow } from './advance-deps.ts'
import { isOver } from './flow.ts'
import { sealedPlaces } from './keys.ts'
import type { FlowReader } from './record.ts'
import { removeFlowJobs } from './remove-jobs.ts'
import type { ClaimedFlow, FlowWork } from './work.ts'

/** The default for `idleMs`, and the wait after an error, ms. */
const IDLE_MS = 2000
/** The most flows of one tenant that are claimed in one turn and looked at in parallel. */
const CLAIMED_AT_ONCE = 32
/** The number of tenants visited in parallel, and how long the list of tenants is cached, ms. */
const TENANTS_AT_ONCE = 8
const TENANTS_MS = 1000
/** The most flows kept in memory between two looks. */
const MOST_CACHED = 1000

export type FlowRunnerDeps = Omit<AdvanceDeps, 'readValue'> & {
  work: FlowWork
  reader: FlowReader
  /** Reads the stored value of a step, such as its signal; null: there is none. */
  readStoredValue: (root: string, id: string, step: number) => Promise<Buffer | null>
  jobs: AdvanceDeps['jobs'] & Pick<Jobs, 'remove'>
  tenants: () => Promise<string[]>
  /** The longest time between two visits to a tenant without a wake-up and without an earlier due flow, ms. */
  idleMs?: number
  /** Called when a flow ends or steps of it are settled. */
  onProgress?: (progress: FlowProgress) => void
  /** Called for each tenant and flow whose visit failed. */
  onFailure?: OnUpkeepFailure
}

/** What one look at a flow changed: steps that were settled, and the flow's end. */
export type FlowProgress = {
  tenant: string
  id: string
  name: string
  requestId: string | null
  /** See NewFlow. */
  trace: string | null
  /** Unix ms. */
  createdAt: number
  /** How the flow ended; null: it still runs. */
  ended: 'completed' | 'failed' | 'cancelled' | null
  errorCode: string | null
  /** The time since the flow's creation, ms. */
  durationMs: number
  steps: ('completed' | 'failed' | 'skipped')[]
}

/** A running loop that advances flows. */
export type FlowRunner = {
  /** Visits the tenant at once; undefined: all tenants. */
  wake(tenant?: string): void
  /** Stops after the current turn. Other workers continue with the flows. */
  stop(): Promise<void>
}

/**
 * Runs flows: looks at each due flow, in one process at a time. A look writes all its changes in one step, and the jobs that it creates
 * have predictable ids. So if a worker dies, the next one can repeat the whole look.
 */
export function startFlowRunner(deps: FlowRunnerDeps): FlowRunner {
  const { work, reader, prefix, idleMs = IDLE_MS } = deps
  const cache = new Map<string, { version: string; flow: CachedFlow }>()
  const advanceDeps: AdvanceDeps = { ...deps, readValue }
  /** When each tenant is due, by the monotonic clock, ms; a tenant without an entry is due now. */
  const dueAt = new Map<string, number>()
  let known: { names: string[]; at: number } = { names: [], at: Number.NEGATIVE_INFINITY }
  const waker = createWaker()
  let stopping = false

  async function readValue(tenant: string, id: string, step: number): Promise<JsonValue | undefined> {
    const root = tenantRoot(prefix, tenant)
    const stored = await deps.readStoredValue(root, id, step)
    if (stored === null) return undefined
    return deps.atRest.openResult(root, id, sealedPlaces.value(step), stored).value ?? null
  }

  async function visitTenant(tenant: string): Promise<void> {
    // A wake-up during the visit sets an earlier time, so the tenant is visited again.
    dueAt.set(tenant, Number.POSITIVE_INFINITY)
    let restMs = IDLE_MS
    try {
      const { flows, nextInMs } = await work.claim(tenant, CLAIMED_AT_ONCE)
      restMs = flows.length > 0 ? 0 : Math.min(nextInMs ?? idleMs, idleMs)
      const fail = (error: unknown, { id }: ClaimedFlow) => {
        cache.delete(id)
        deps.onFailure?.({ task: 'flows', tenant, id, error })
      }
      await visitAll(flows, visitFlow, fail, { atOnce: CLAIMED_AT_ONCE })
    } finally {
      // If the entry is gone, a wake-up of all tenants came meanwhile.
      dueAt.set(tenant, Math.min(dueAt.get(tenant) ?? 0, performance.now() + restMs))
    }
  }

  async function visitFlow(claimed: ClaimedFlow): Promise<void> {
    const { tenant, id, version } = claimed
    const root = tenantRoot(prefix, tenant)
    const kept = cache.get(id)
    cache.delete(id)
    const flow = kept?.version === version ? kept.flow : await load(root, id, kept?.flow)
    if (flow === null) {
      const removed = await reader.loadState(root, id)
      if (removed?.record.isDeleted) await removeFlowJobs(deps, tenant, removed)
      await work.forget(tenant, id)
      return
    }
    const { expiresAt } = flow.record
    if (expiresAt !== null && expiresAt <= deps.now() && (await work.forget(tenant, id))) return
    const { changes, progress } = await lookAtFlow(advanceDeps, claimed, flow)
    if (!(await work.advance(claimed, changes))) return
    const ended = progress.status !== null && isOver(progress.status) ? progress.status : null
    // An ended flow is not cached, because the next look must read its time of expiry.
    if (ended === null) keep(id, String(Number(version) + 1), flow)
    if (ended === null && progress.steps.length === 0) return
    const { name, requestId, trace, createdAt } = flow.record
    deps.onProgress?.({
      ...{ tenant, id, name, requestId, trace, createdAt, ended },
      errorCode: progress.errorCode,
      durationMs: Math.max(0, deps.now() - createdAt),
      steps: progress.steps,
    })
  }

  async function load(root: string, id: string, known: CachedFlow | undefined): Promise<CachedFlow | null> {
    const flow = await reader.load(root, id, known?.compiled)
    return flow && { ...flow, items: known?.items ?? new Map(), errors: known?.errors ?? new Map() }
  }

  function keep(id: string, version: string, flow: CachedFlow): void {
    cache.set(id, { version, flow })
    if (cache.size > MOST_CACHED) cache.delete(cache.keys().next().value!)
  }

  async function listTenants(): Promise<string[]> {
    if (performance.now() - known.at > TENANTS_MS)
      known = { names: await deps.tenants(), at: performance.now() }
    return known.names
  }

  /** Visits each due tenant once. Resolves to the time until the next one is due, ms. */
  async function visitTenants(): Promise<number> {
    const names = await listTenants()
    const isDue = (name: string) => (dueAt.get(name) ?? 0) <= performance.now()
    const visit = async (tenant: string) => {
      if (!stopping) await visitTenant(tenant)
    }
    const fail = (error: unknown, tenant: string) => deps.onFailure?.({ task: 'flows', tenant, error })
    await visitAll(names.filter(isDue), visit, fail, { atOnce: TENANTS_AT_ONCE, endsWithStore: true })
    const next = Math.min(...names.map((name) => dueAt.get(name) ?? 0), performance.now() + IDLE_MS)
    return next - performance.now()
  }

  async function loop(): Promise<void> {
    while (!stopping) {
      let restMs = IDLE_MS
      try {
        restMs = await visitTenants()
      } catch (error) {
        deps.onFailure?.({ task: 'flows', tenant: '', error })
      }
      if (restMs > 0 && !stopping) await waker.sleep(restMs)
    }
  }

  const looping = loop()
  return {
    wake(tenant) {
      if (tenant === undefined) dueAt.clear()
      else dueAt.set(tenant, 0)
      waker.wake()
    },
    async stop() {
      stopping = true
      waker.wake()
      await looping
    },
  }
}
