import type { OpenAnswer } from '../../../client/http.ts'
import { sleep } from '../../../client/sleep.ts'
import type { Api } from '../api.ts'
import type { Caller, Failure, Group, List, Overview } from '../wire.ts'

/** Time between two reads, ms. */
const READ_EVERY_MS = 3_000
/** How many groups it contains. */
const GROUPS = 20

/**
 * The overview of one tenant, for a key that sees no other tenant: its figures, groups and failures, as a stream of snapshots like
 * that of `GET /v1/overview/events`. It has no lanes, because lanes reveal other tenants.
 */
export function openOwnOverview(api: Api, caller: Caller, signal: AbortSignal): OpenAnswer {
  let first: Caller | null = caller
  const take = async (): Promise<Overview> => {
    const [{ figures }, groups, failures] = await Promise.all([
      first ?? api.json<Caller>('/v1/caller', { signal }),
      api.json<List<Omit<Group, 'tenant' | 'estimated_finish_at'>>>(`/v1/groups?limit=${GROUPS}`, { signal }),
      api.json<List<Omit<Failure, 'tenant'>>>('/v1/failures', { signal }),
    ])
    const { tenant } = caller
    return {
      at: new Date().toISOString(),
      lanes: [],
      tenants: figures === null ? [] : [figures],
      tenant_count: 1,
      groups: groups.data.map((group) => ({ ...group, tenant, estimated_finish_at: null })),
      batches: [],
      failures: failures.data.map((failure) => ({ ...failure, tenant })),
      unpriced: [],
    }
  }
  return {
    response: new Response(),
    async read() {
      if (first === null) await sleep(READ_EVERY_MS, signal)
      const overview = await take()
      first = null
      return new TextEncoder().encode(`event: overview\ndata: ${JSON.stringify(overview)}\n\n`)
    },
    close() {},
  }
}
