import type { Files } from '../files/files.ts'
import type { OpenFile } from '../providers/provider.ts'

/** Opens files of a tenant for a provider's request. */
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
