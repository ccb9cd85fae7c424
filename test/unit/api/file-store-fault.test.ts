import { expect, test } from 'vitest'
import { toApiError } from '../../../api/error-replies.ts'
import { toErrorHeaders } from '../../../api/errors.ts'
import { FileStoreError, type FileStoreFault } from '../../../files/object-store.ts'

test.each(['away', 'full', 'refused', 'missing'] satisfies FileStoreFault[])(
  'a store of files that is %s is a 503 that says so, to be tried again, and shows nothing of the store',
  (fault) => {
    const cause = new Error('a secret of /var/files')
    const shown = toApiError(new FileStoreError('s3', fault, 'the bucket private', { cause }), () => false)
    expect(shown).toMatchObject({ status: 503, code: 'file_store_unavailable', param: null })
    expect(shown.message).toMatch(/^the store of files /)
    expect(shown.message).not.toMatch(/private|secret|\/var/)
    expect(toErrorHeaders(shown)).toEqual({ 'retry-after': '5' })
  },
)
