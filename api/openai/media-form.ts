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

/** The purpose of requests' files. */
const INPUT_PURPOSE = 'job_input'

/** OpenAI accepts 16 images and a mask. Fields may contain voice samples as data URLs. */
const LIMITS = { files: 17, fields: 128, parts: 160, fieldSize: 1024 * 1024, headerPairs: 32 }

/** A form as a body. Its files are stored, and the body has their ids. */
export type ReadForm = {
  body: JsonObject
  files: string[]
  /** Removes the files when no job took them. */
  discard(): Promise<void>
}

/**
 * Reads a request's form while it arrives, and stores its files for the tenant. Its fields together may be as large as a JSON body. Throws
 * the errors of `openForm` and `createFormBody`, and `storage_full`; then no file stays.
 *
 * @param members members that hold files; a text in one is the id of a stored file
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
      // The file is deleted with its job. If a crash leaves it without one, it expires.
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
