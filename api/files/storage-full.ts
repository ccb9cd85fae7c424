import type { StorageFullError } from '../../files/files.ts'
import { ApiError } from '../errors.ts'

/** The file would exceed the tenant's storage limit. */
export function storageFull({ maxBytes }: StorageFullError): ApiError {
  return new ApiError(
    'storage_full',
    `file: your files may have ${maxBytes} bytes together (files.max_bytes_per_tenant); delete some`,
    { param: 'file' },
  )
}
