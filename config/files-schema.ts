import { z } from 'zod'
import { duration, httpUrl, secret, size } from './schema-parts.ts'

const s3 = z.strictObject({
  bucket: z
    .string()
    .regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, { error: 'expected the name of a bucket' })
    .describe('The bucket. It must exist. Restart to change.'),
  endpoint: httpUrl()
    .optional()
    .describe(
      'The address of the store, without the bucket: http://minio:9000. Default: AWS in this region. Restart to change.',
    ),
  region: z
    .string()
    .regex(/^[a-z0-9-]{1,64}$/, { error: 'expected the name of a region' })
    .prefault('us-east-1')
    .describe('The region for signatures. Many other stores accept "auto". Restart to change.'),
  prefix: z
    .string()
    .regex(/^(?:[A-Za-z0-9][A-Za-z0-9._-]*(?:\/[A-Za-z0-9][A-Za-z0-9._-]*)*)?$/, {
      error: 'expected words of letters, digits and . _ - with single slashes between',
    })
    .max(256)
    .prefault('sluice')
    .describe('The start of all keys in the bucket; may be empty. Restart to change.'),
  access_key_id: secret().describe('Id of the key. Restart to change.'),
  secret_access_key: secret().describe('The key. Restart to change.'),
})

export const filesSchema = z.strictObject({
  store: z
    .enum(['redis', 'folder', 's3'])
    .optional()
    .describe(
      'Where the content of new files goes. Default: folder where npm start brings its own Redis, else redis. Restart to change.',
    ),
  folder: z
    .string()
    .regex(/^[^\0]+$/, { error: 'expected the path of a folder' })
    .prefault('.sluice/files')
    .describe('The folder, if store is folder. All processes must see the same one. Restart to change.'),
  s3: s3
    .optional()
    .describe('The bucket, if store is s3: in S3 or any store with its API. Restart to change.'),
  max_bytes_per_tenant: size()
    .prefault('2GiB')
    .describe('How many bytes all files of a tenant may have before uploads are refused.'),
  retain: duration({ min: '1h' })
    .prefault('30d')
    .describe('How long a file is kept if the upload sets no time.'),
})
