import type { FastifyRequest } from 'fastify'
import { StorageFullError } from '../../files/files.ts'
import type { JsonObject, JsonValue } from '../../lib/json.ts'
import { tenantOf } from '../auth.ts'
import type { RouteContext } from '../deps.ts'
import { ApiError } from '../errors.ts'
import { openForm } from '../files/form-reader.ts'
import { storageFull } from '../files/storage-full.ts'
import { refuseWithoutMemory } from '../jobs/submit.ts'
import { refuseEncodings } from '../json-body.ts'

/** What files of requests are for. */
const INPUT_PURPOSE = 'job_input'

/** OpenAI takes 16 pictures and a mask; fields may hold samples of voices as data URLs. */
const LIMITS = { files: 17, fields: 128, parts: 160, fieldSize: 1024 * 1024, headerPairs: 32 }

/** Members that forms write as text, and bodies as something else. */
const NUMBERS = new Set(['n', 'temperature', 'partial_images', 'output_compression', 'speed', 'seed'])
const FLAGS = new Set(['stream'])

/** A form as the body that it stands for: its files are stored, and named by their ids. */
export type ReadForm = {
  body: JsonObject
  files: string[]
  /** Removes the files: no job has them. */
  discard(): Promise<void>
}

/**
 * Reads a request's form as it arrives, and stores its files under the tenant. Throws what `openForm` throws, and `storage_full`;
 * then nothing stays.
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
  const values = new Map<string, JsonValue>()
  const discard = async () => {
    await Promise.all(stored.map((id) => deps.files.remove(tenant, id)))
  }
  const form = await openForm(request, {
    fileBytes: limits.fileBytes,
    idleTimeout: limits.bulkIdleTimeout,
    timeout: limits.bulkTimeout,
    drainTimeout: limits.bodyTimeout,
    limits: LIMITS,
  })

  function add(name: string, value: JsonValue): void {
    const [, list] = /^(.+)\[\d*\]$/.exec(name) ?? []
    if (list !== undefined) {
      const known = values.get(list)
      values.set(list, [...(Array.isArray(known) ? known : known === undefined ? [] : [known]), value])
      return
    }
    const [, object, member] = /^([^[]+)\[([^\]]+)\]$/.exec(name) ?? []
    if (object !== undefined && member !== undefined) {
      values.set(object, { ...(values.get(object) as JsonObject | undefined), [member]: value })
    } else if (members.includes(name) && values.has(name)) {
      values.set(name, [values.get(name)!, value].flat())
    } else values.set(name, value)
  }

  try {
    for (let part = await form.next(); part !== null; part = await form.next()) {
      if (part.kind === 'field') {
        add(part.name, readField(part.name, part.value))
        continue
      }
      const member = part.name.replace(/\[\d*\]$/, '')
      if (!members.includes(member)) {
        const message = `${member}: is no file of this request; it takes ${members.join(', ')}`
        throw new ApiError('invalid_request', message, { param: member })
      }
      const watched = deps.fileContents.watch(part.content)
      const { filename } = part
      // It goes with its job. Where a crash leaves it without one, it ends by itself.
      const describe = (createdAt: number) => {
        const expiresAt = createdAt + 2 * deps.config().jobs.retain + DAY_MS
        return { filename, purpose: INPUT_PURPOSE, expiresAt }
      }
      const file = await deps.files.create(tenant, describe, watched.content)
      stored.push(file.id)
      watched.keep(file)
      add(part.name, file.id)
    }
    return { body: Object.fromEntries(values), files: stored, discard }
  } catch (fault) {
    await discard().catch((error) => request.log.warn({ err: error }, 'removing the files of a request'))
    throw fault instanceof StorageFullError ? storageFull(fault) : fault
  } finally {
    form.close()
  }
}

const DAY_MS = 24 * 60 * 60 * 1000

/** A field's text as what a JSON body would have. */
function readField(name: string, value: string): JsonValue {
  const member = name.split('[')[0]!
  if (FLAGS.has(member) && (value === 'true' || value === 'false')) return value === 'true'
  const isNumber = NUMBERS.has(member) || name.startsWith('chunking_strategy[')
  return isNumber && /^-?\d+(?:\.\d+)?$/.test(value) ? Number(value) : value
}
