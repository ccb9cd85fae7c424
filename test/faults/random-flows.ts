import fc from 'fast-check'
import type { FlowView } from '../../flows/view.ts'
import type { Job } from '../../jobs/job.ts'
import { chat, statuses } from '../integration/flows/forms.ts'
import { flowArbitrary, foresee, type ModelStep, toCreate } from '../integration/flows/model.ts'
import { get, getAttempts } from './client.ts'
import { until } from './wait.ts'

type Running = { id: string; steps: ModelStep[] }

/** How long a flow is sent again while there is no answer. */
const CREATED_MS = 60_000

/**
 * Flows whose steps take so long, ms, that a worker may die in each of them. A flow without an answer is sent again
 * under its idempotency key, to any of the processes that run then.
 */
export async function createRandomFlows(
  urls: () => readonly string[],
  seed: number,
  count: number,
  slowMs: number,
  prefix = 'f',
): Promise<Running[]> {
  const flows = fc.sample(flowArbitrary, { seed, numRuns: count })
  const content = (mark: string, fails: boolean) =>
    chat(fails ? `[[fault:400]] ${mark}` : `${mark} [[fault:slow:ms=${slowMs}]]`)
  return Promise.all(
    flows.map(async (steps, at) => {
      const create = { ...toCreate(steps, `${prefix}${at}`, content), on_failure: 'continue' }
      const send = async (key: string) => {
        const running = urls()
        const response = await fetch(`${running[at % running.length]}/v1/flows`, {
          method: 'POST',
          headers: { 'content-type': 'application/json', 'idempotency-key': key },
          body: JSON.stringify(create),
        })
        if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`)
        return ((await response.json()) as FlowView).id
      }
      const id = await until(() => send(`${prefix}${at}`), CREATED_MS, 'the answer to a flow')
      return { id, steps }
    }),
  )
}

/** How many have ended. */
export async function countEnded(url: string, flows: readonly Running[]): Promise<number> {
  const found = await Promise.all(flows.map(({ id }) => get<FlowView>(`${url}/v1/flows/${id}`)))
  return found.filter((flow) => flow?.status === 'completed' || flow?.status === 'failed').length
}

/** What does not hold for flows that have ended: each ended as the model predicts, and its events have no gap. */
export async function judgeFlows(url: string, flows: readonly Running[]): Promise<string[]> {
  const broken: string[] = []
  for (const { id, steps } of flows) {
    const flow = (await get<FlowView>(`${url}/v1/flows/${id}`))!
    const expected = foresee(steps)
    const found = Object.values(statuses(flow))
    if (JSON.stringify(found) !== JSON.stringify(expected))
      broken.push(`${id} ended as ${found}, not as ${expected}`)
    const wanted = expected.includes('failed') ? 'failed' : 'completed'
    if (flow.status !== wanted) broken.push(`${id} is ${flow.status}, not ${wanted}`)
    const text = await (await fetch(`${url}/v1/flows/${id}/events`)).text()
    const seqs = [...text.matchAll(/^id: (\d+)$/gm)].map(([, seq]) => Number(seq))
    if (seqs.length < 2 || seqs.some((seq, at) => seq !== at + 1))
      broken.push(`the events of ${id} are ${seqs}`)
  }
  return broken
}

/** What was bought more often than it was lost: each call of these flows has a prompt of its own. */
export async function judgePurchases(
  url: string,
  flows: readonly Running[],
  promptHashes: readonly string[],
): Promise<string[]> {
  let lost = 0
  for (const { id, steps } of flows) {
    for (const at of steps.keys()) {
      const page = await get<{ data: { job: Job | null }[] }>(`${url}/v1/flows/${id}/steps/s${at}/jobs`)
      for (const { job } of page!.data)
        if (job !== null && job.attempts > 1) lost += await countLost(url, job.id)
    }
  }
  const twice = promptHashes.length - new Set(promptHashes).size
  return twice > lost ? [`${twice} calls were paid twice, and ${lost} were lost with their workers`] : []
}

/** Calls of a job that were lost with their workers. */
export async function countLost(url: string, job: string): Promise<number> {
  return (await getAttempts(url, job)).filter(({ outcome }) => outcome === 'lost').length
}
