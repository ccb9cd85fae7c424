import type { Files } from '../files/files.ts'
import type { OpenFile } from '../providers/provider.ts'

/**
 * Opens a tenant's files for a provider's request. Gives null for a file that does not exist. `read` throws if the file
 * was removed meanwhile.
 */
export function createOpenFile(files: Pick<Files, 'get' | 'read'>, tenant: string): OpenFile {
  return async (id) => {
    const file = await files.get(tenant, id)
    if (file === null) return null
    return {
      filename: file.filename,
      bytes: file.bytes,
      async *read() {
        const content = await files.read(tenant, id)
        if (content === null) throw new Error('a file was removed while it was sent')
        yield* content
      },
    }
  }
}
