import { hash } from 'node:crypto'
import type { Lane } from '../../config/lanes.ts'
import type { Tenant } from '../../config/tenants.ts'
import { InputError } from '../../jobs/input-error.ts'
import type { NewJob } from '../../jobs/new-job.ts'
import { canonicalizeText } from '../../lib/canonical-json.ts'
import { listInputFiles } from '../../lib/input-files.ts'
import { stringifyJson } from '../../lib/json-source.ts'
import { priceInNano } from '../../lib/price.ts'
import { isWithoutOutput, takesAudio } from '../../providers/endpoints.ts'
import type { ApiStore } from '../deps.ts'
import { fromInputError } from '../error-replies.ts'
import { ApiError, toErrorMembers } from '../errors.ts'
import { parseRequest } from '../issues.ts'
import { bulkLineSchema } from '../jobs/create-schema.ts'
import { refuseOversize } from '../jobs/refuse-oversize.ts'
import { type SubmitDeps, toNewJob } from '../jobs/submit.ts'

/** Output tokens of an answer without a cap, for a model without a maximum; the same as budgets assume. */
const UNKNOWN_OUTPUT_TOKENS = 1024
const MAX_EXAMPLES = 5
export const TIERS = ['standard', 'flex', 'batch'] as const
export type EstimatedTier = (typeof TIERS)[number]

/** What the jobs of one lane would use. */
export type LaneLoad = {
  lane: Lane
  jobs: number
  /** Jobs that share the call of an equal job. */
  shared: number
  inputTokens: number
  outputTokens: number
  tokens: number
  /** Images requested, and seconds of audio sent. */
  images: number
  audioSeconds: number
  /** Billionths of a dollar by tier; null where the price is unknown; without tiers that the lane lacks. */
  nano: Partial<Record<EstimatedTier, number | null>>
}

export type Refused = {
  count: number
  examples: { index: number; error: ReturnType<typeof toErrorMembers> }[]
}

/** Adds up jobs without creating them. Only hashes of them are kept. Files that they name are read for their digest and duration. */
export function createAdder(tenant: Tenant, deps: SubmitDeps & { store: Pick<ApiStore, 'fileContents'> }) {
  const loads = new Map<string, LaneLoad>()
  const refused: Refused = { count: 0, examples: [] }
  const seen = new Set<string>()

  function refuse(index: number, error: ApiError): void {
    refused.count++
    if (refused.examples.length < MAX_EXAMPLES) refused.examples.push({ index, error: toErrorMembers(error) })
  }

  return {
    loads,
    refused,
    refuse,
    /** @param value a parsed create object */
    async add(index: number, value: unknown): Promise<void> {
      try {
        const { idempotency_key: _, ...create } = parseRequest(bulkLineSchema, value, 'body')
        const job = toNewJob(tenant, create, null, deps)
        const lane = deps.submission.resolveModel(job.model)!.lanes.find(({ id }) => id === job.lane)!
        const inputs = await describeFiles(tenant.name, job)
        if (takesAudio(job.type)) job.cost = { ...job.cost, audioSeconds: inputs.seconds }
        refuseOversize(lane, job.cost)
        const load = loads.get(lane.id) ?? begin(lane)
        loads.set(lane.id, load)
        load.jobs++
        const text = canonicalizeText(stringifyJson(job.body), () => false)
        const named = inputs.digests.reduce((whole, [id, digest]) => whole.replaceAll(id, digest), text)
        const content = hash('sha256', `${job.type} ${named}`, 'base64url').slice(0, 16)
        if (job.cache === 'use' && seen.has(content)) load.shared++
        else charge(load, job)
        seen.add(content)
      } catch (error) {
        const known = error instanceof InputError ? fromInputError(error) : error
        if (!(known instanceof ApiError)) throw error
        refuse(index, known)
      }
    },
  }

  /** Throws `InputError` for a missing file. */
  async function describeFiles(
    name: string,
    { type, body }: NewJob,
  ): Promise<{ digests: [id: string, digest: string][]; seconds: number }> {
    const digests: [string, string][] = []
    let seconds = 0
    for (const { member, ids } of listInputFiles(type, body)) {
      for (const id of ids) {
        const facts = await deps.store.fileContents.describe(name, id)
        if (facts === null) throw new InputError(member, id)
        digests.push([id, facts.digest])
        seconds += facts.seconds
      }
    }
    return { digests, seconds }
  }
}

function begin(lane: Lane): LaneLoad {
  const nano: LaneLoad['nano'] = { standard: lane.price === null ? null : 0 }
  if (lane.tiers?.flex) nano.flex = nano.standard!
  if (lane.tiers?.batch) nano.batch = nano.standard!
  const none = { jobs: 0, shared: 0, inputTokens: 0, outputTokens: 0, tokens: 0, images: 0, audioSeconds: 0 }
  return { lane, ...none, nano }
}

function charge(load: LaneLoad, { cost, type }: NewJob): void {
  const { lane, nano } = load
  const choices = cost.choices ?? 1
  const most = lane.max_output_tokens ?? Number.POSITIVE_INFINITY
  const asked = cost.outputCap === undefined ? cost.outputTokens / choices : cost.outputCap
  const cap = asked ?? lane.default_max_tokens ?? lane.max_output_tokens ?? UNKNOWN_OUTPUT_TOKENS
  const { images = 0, audioSeconds = 0 } = cost
  // Each image is an answer of its own.
  const output = isWithoutOutput(type) ? 0 : Math.min(cap, most) * Math.max(choices, images)
  load.inputTokens += cost.inputTokens
  load.outputTokens += output
  load.tokens += cost.tokens
  load.images += images
  load.audioSeconds += audioSeconds
  if (lane.price === null) return
  const usage = { input_tokens: cost.inputTokens, output_tokens: output, images, audio_seconds: audioSeconds }
  for (const tier of TIERS) {
    // Calls without output are not sent at flex, but at standard.
    const served = tier === 'flex' && isWithoutOutput(type) ? 'standard' : tier
    const sum = nano[tier]
    if (typeof sum === 'number') nano[tier] = sum + priceInNano(lane.price, usage, served)
  }
}
