import { getAttempts, getGroup, getJob, mapGently, submit } from './client.ts'
import type { Load } from './load.ts'
import type { Stage } from './stage.ts'
import { type Evidence, type Tally, tallyUp } from './tally.ts'
import { until } from './wait.ts'

export type Judgement = { tally: Tally; evidence: Evidence[]; broken: string[] }

/** How many accepted jobs are sent once more, to check that the same key is still the same job. */
const SENT_AGAIN = 25

/**
 * Waits until every job of the group has ended, or for so long, and counts their outcomes.
 *
 * @param stage has an API process that runs
 */
export async function judge(
  stage: Stage,
  load: Pick<Load, 'sent'> & Partial<Pick<Load, 'tenant'>>,
  group: string,
  patienceMs: number,
): Promise<Judgement> {
  const api = () => stage.urls()[0] ?? ''
  const { tenant } = load
  const broken: string[] = []
  try {
    await until(() => allEnded(api(), group, tenant), patienceMs, 'the end of all jobs')
  } catch {
    // A job that has not ended is counted below.
  }
  const accepted = load.sent.filter((job) => job.id !== null)
  const evidence = await mapGently(accepted, async ({ id, hash }): Promise<Evidence> => {
    const job = await getJob(api(), id!, tenant)
    return { id: id!, hash, job, attempts: job === null ? [] : await getAttempts(api(), id!, tenant) }
  })
  const tally = tallyUp(evidence, await stage.simulator.calls())

  const refused = load.sent.length - accepted.length
  if (refused > 0) broken.push(`${refused} submissions were not accepted within a minute and a half`)
  const total = (await getGroup(api(), group, tenant))?.total ?? 0
  if (total !== accepted.length) broken.push(`${accepted.length} idempotency keys made ${total} jobs`)
  const again = await mapGently(accepted.slice(-SENT_AGAIN), async (job) => {
    const answer = await submit(api(), job.body, job.key, tenant)
    if (answer.status === 0 || answer.status >= 500) throw new Error(`answered ${answer.status}`)
    return answer.status === 200 && answer.id === job.id
  })
  const strange = again.filter((same) => !same).length
  if (strange > 0) broken.push(`${strange} keys sent again were not answered with their job`)
  if (tally.mistaken.length > 0)
    broken.push(`${tally.mistaken.length} jobs have the answer to another prompt`)
  const { in_flight } = await stage.simulator.state()
  if (tally.lost.size === 0 && in_flight > 0) broken.push(`${in_flight} calls go on for jobs that have ended`)
  return { tally, evidence, broken }
}

/** True once every job of the group has ended. */
export async function allEnded(api: string, group: string, tenant?: string): Promise<true | null> {
  const summary = await getGroup(api, group, tenant)
  if (summary === null) return null
  const { scheduled, queued, running } = summary.counts
  return scheduled + queued + running === 0 ? true : null
}
