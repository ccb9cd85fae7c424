import type { FastifyRequest } from 'fastify'
import { StorageFullError } from '../../files/files.ts'
import type { JsonObject } from '../../lib/json.ts'
import { tenantOf } from '../auth.ts'
import type { RouteContext } from '../deps.ts'
import { ApiError } from '../errors.ts'
import { openForm } from '../files/form-reader.ts'
import { storageFull } from '../files/storage-full.ts'
import { refuseWithoutMemory } from '../jobs/refusals.ts'
import { refuseEncodings } from '../json-body.ts'
import { createFormBody } from './form-body.ts'

/** What files of requests are for. */
const INPUT_PURPOSE = 'job_input'

/** OpenAI takes 16 pictures and a mask; fields may hold samples of voices as data URLs. */
const LIMITS = { files: 17, fields: 128, parts: 160, fieldSize: 1024 * 1024, headerPairs: 32 }

/** A form as the body that it stands for: its files are stored, and named by their ids. */
export type ReadForm = {
  body: JsonObject
  files: string[]
  /** Removes the files: no job has them. */
  discard(): Promise<void>
}

/**
 * Reads a request's form as it arrives, and stores its files under the tenant. Its fields may be as large together as a JSON body. Throws what
 * `openForm` and `createFormBody` throw, and `storage_full`; then nothing stays.
 *
 * @param members that hold files; a text in one is the id of a file that is there already
 */
export async function readMediaForm(
  request: FastifyRequest,
  members: readonly string[],
  { deps, limits }: RouteContext,
): Promise<ReadForm> {
  refuseEncodings(request.headers['content-encoding'])
  await refuseWithoutMemory(deps)
  const tenant = tenantOf(request).name
  const stored: string[] = []
  const body = createFormBody(members, limits.bodyBytes)
  const discard = async () => {
    await Promise.all(stored.map((id) => deps.store.files.remove(tenant, id)))
  }
  const form = await openForm(request, {
    fileBytes: limits.fileBytes,
    idleTimeout: limits.bulkIdleTimeout,
    timeout: limits.bulkTimeout,
    drainTimeout: limits.bodyTimeout,
    limits: LIMITS,
  })

  try {
    for (let part = await form.next(); part !== null; part = await form.next()) {
      if (part.kind === 'field') {
        body.addField(part.name, part.value)
        continue
      }
      const member = part.name.replace(/\[\d*\]$/, '')
      if (!members.includes(member)) {
        const message = `${member}: is no file of this request; it takes ${members.join(', ')}`
        throw new ApiError('invalid_request', message, { param: member })
      }
      const watched = deps.store.fileContents.watch(part.content)
      const { filename } = part
      // It goes with its job. Where a crash leaves it without one, it ends by itself.
      const describe = (createdAt: number) => {
        const expiresAt = createdAt + 2 * deps.config().jobs.retain + DAY_MS
        return { filename, purpose: INPUT_PURPOSE, expiresAt }
      }
      const file = await deps.store.files.create(tenant, describe, watched.content)
      stored.push(file.id)
      watched.keep(file)
      body.addFile(part.name, file.id)
    }
    return { body: body.toBody(), files: stored, discard }
  } catch (fault) {
    await discard().catch((error) => request.log.warn({ err: error }, 'removing the files of a request'))
    throw fault instanceof StorageFullError ? storageFull(fault) : fault
  } finally {
    form.close()
  }
}

const DAY_MS = 24 * 60 * 60 * 1000
