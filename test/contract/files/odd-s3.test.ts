import { randomBytes } from 'node:crypto'
import { expect, onTestFinished, test } from 'vitest'
import { FileStoreError } from '../../../files/object-store.ts'
import { createS3Store } from '../../../files/s3-store.ts'
import { type OddS3, type S3Oddity, type S3Operation, startOddS3 } from '../../helpers/odd-s3.ts'

const small = randomBytes(1000)
/** Two parts of an upload. */
const large = randomBytes(8 * 1024 * 1024 + 1000)
const NAME = 's/t/file'

function openStore({ url }: OddS3, bucket: string) {
  const key = { access_key_id: 'key', secret_access_key: 'secret' }
  const settings = { bucket, endpoint: url, region: 'us-east-1', prefix: '', ...key }
  const store = createS3Store(settings, { proxy: null, now: Date.now })
  onTestFinished(() => store.close())
  return store
}

async function* inChunks(content: Buffer) {
  for (let at = 0; at < content.length; at += 1024 * 1024) yield content.subarray(at, at + 1024 * 1024)
}

/** The faults of a store while an object with this content is written. */
const writes: [S3Operation, S3Oddity[], Buffer][] = [
  ['put', ['slow-down', 'request-timeout', 'reset', 'lost'], small],
  ['begin', ['slow-down', 'reset', 'lost', 'error-in-200', 'cut'], large],
  ['part', ['slow-down', 'request-timeout', 'reset', 'lost'], large],
  ['complete', ['slow-down', 'reset', 'lost', 'error-in-200', 'cut'], large],
]
const cases = writes.flatMap(([operation, oddities, content]) =>
  oddities.map((how) => ({ operation, how, content, bucket: `${operation}-${how}` })),
)
const named = <T>(outcomes: T[]) => Object.fromEntries(outcomes.map((one, at) => [cases[at]!.bucket, one]))

test('a fault that happens once costs nothing: the object is complete, and no part of an upload is left', async () => {
  const s3 = await startOddS3()
  onTestFinished(() => s3.close())
  const outcomes = await Promise.all(
    cases.map(async ({ operation, how, content, bucket }) => {
      const place = s3.bucket(bucket)
      place.oddity = { operation, how, times: 1 }
      await openStore(s3, bucket).write(NAME, inChunks(content))
      const isWhole = place.objects.get(NAME)?.equals(content) === true
      return { isWhole, uploads: place.uploads.size, left: place.oddity.times }
    }),
  )
  expect(named(outcomes)).toEqual(named(cases.map(() => ({ isWhole: true, uploads: 0, left: 0 }))))
})

test('a fault that persists is reported as a store that is unavailable, and what is left is deleted by its name', async () => {
  const s3 = await startOddS3()
  onTestFinished(() => s3.close())
  const outcomes = await Promise.all(
    cases.map(async ({ operation, how, content, bucket }) => {
      const place = s3.bucket(bucket)
      place.oddity = { operation, how, times: Number.POSITIVE_INFINITY }
      const error: unknown = await openStore(s3, bucket)
        .write(NAME, inChunks(content))
        .catch((fault) => fault)
      place.oddity = null
      // As the maintainer does with an object that no file has; this client has no faults.
      await openStore(s3, bucket).remove(NAME)
      return {
        fault: error instanceof FileStoreError ? error.fault : String(error),
        left: place.objects.size + place.uploads.size,
      }
    }),
  )
  expect(named(outcomes)).toEqual(named(cases.map(() => ({ fault: 'away', left: 0 }))))
})

test('an object is never read short or changed, and one that is deleted stays deleted', async () => {
  const s3 = await startOddS3()
  onTestFinished(() => s3.close())
  const oddities: [S3Operation, S3Oddity][] = [
    ...(['slow-down', 'request-timeout', 'reset', 'lost', 'cut', 'short'] as const).map(
      (how) => ['get', how] as [S3Operation, S3Oddity],
    ),
    ...(['slow-down', 'reset', 'lost'] as const).map((how) => ['delete', how] as [S3Operation, S3Oddity]),
  ]
  await Promise.all(
    oddities.map(async ([operation, how]) => {
      const bucket = `${operation}-${how}`
      const place = s3.bucket(bucket)
      const store = openStore(s3, bucket)
      await store.write(NAME, inChunks(small))
      place.oddity = { operation, how, times: 1 }
      if (operation === 'delete') {
        await store.remove(NAME)
        expect(place.objects.size).toBe(0)
        expect(await store.read(NAME, 0, 10)).toBeNull()
        return
      }
      const ask = () => store.read(NAME, 100, 500)
      // A range that is too short cannot be requested again within one request.
      if (how === 'short') await expect(ask()).rejects.toMatchObject({ fault: 'away' })
      expect((await ask())?.equals(small.subarray(100, 600)), bucket).toBe(true)
      // Beyond its end there is nothing, which is not a fault.
      expect((await store.read(NAME, 900, 500))?.length).toBe(100)
      place.oddity = { operation, how, times: Number.POSITIVE_INFINITY }
      await expect(ask(), bucket).rejects.toMatchObject({ fault: 'away' })
    }),
  )
})
