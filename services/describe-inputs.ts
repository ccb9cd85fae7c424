import { resolveLane } from '../config/lanes.ts'
import type { Config } from '../config/schema.ts'
import type { FileContents } from '../files/contents.ts'
import { InputError } from '../jobs/input-error.ts'
import { estimateMoney } from '../jobs/money.ts'
import type { NewJob } from '../jobs/new-job.ts'
import { listInputFiles } from '../lib/input-files.ts'
import { takesAudio } from '../providers/endpoints.ts'

/** Adds the digests of a job's files, and the duration of audio files, which limits and prices count. Throws `InputError`. */
export async function describeInputs(
  job: NewJob,
  { fileContents, config }: { fileContents: FileContents; config: () => Config },
): Promise<NewJob> {
  const named = listInputFiles(job.type, job.body)
  const inputs = new Map<string, string>()
  let audioSeconds = 0
  for (const { member, ids } of named) {
    for (const id of ids) {
      const facts = await fileContents.describe(job.tenant, id)
      if (facts === null) throw new InputError(member, id)
      inputs.set(id, facts.digest)
      audioSeconds += facts.seconds
    }
  }
  const lane = resolveLane(config(), job.lane)
  if (!takesAudio(job.type) || lane === null) return { ...job, inputs }
  const cost = { ...job.cost, audioSeconds }
  return { ...job, inputs, cost, ...estimateMoney(lane, cost) }
}
