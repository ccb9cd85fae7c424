import { zstdDecompressSync } from 'node:zlib'
import type { RedisClient } from '../../lib/redis.ts'
import { keysOf } from './redis.ts'

const ZSTD_MAGIC = Buffer.from([0x28, 0xb5, 0x2f, 0xfd])

/** Everything under a prefix in Redis: as it is stored, and the content of its packed values. */
export async function dumpRedis(
  redis: RedisClient,
  prefix: string,
): Promise<{ plain: string; unpacked: string }> {
  const values = await dumpValues(redis, prefix)
  return { plain: values.map(String).join('\n'), unpacked: values.flatMap(unpack).join('\n') }
}

/** Every key under a prefix, followed by its values. */
export async function dumpValues(redis: RedisClient, prefix: string): Promise<Buffer[]> {
  const values: Buffer[] = []
  for (const key of await keysOf(redis, `*${prefix}*`)) {
    values.push(Buffer.from(key), ...(await readValue(redis, key)))
  }
  return values
}

function unpack(value: Buffer): string[] {
  const at = value.indexOf(ZSTD_MAGIC)
  if (at === -1) return []
  try {
    return [zstdDecompressSync(value.subarray(at)).toString()]
  } catch (error) {
    // Only at the beginning is it certainly a frame; elsewhere the bytes may look like one by chance.
    if (at === 0) throw error
    return []
  }
}

async function readValue(redis: RedisClient, key: string): Promise<Buffer[]> {
  switch (await redis.type(key)) {
    case 'string':
      return [(await redis.getBuffer(key)) ?? Buffer.alloc(0)]
    case 'hash':
      return Object.entries(await redis.hgetallBuffer(key)).flatMap(([name, value]) => [
        Buffer.from(name),
        value,
      ])
    case 'list':
      return redis.lrangeBuffer(key, '0', '-1')
    case 'set':
      return redis.smembersBuffer(key)
    case 'zset':
      return redis.zrangeBuffer(key, '0', '-1')
    case 'stream':
      return [Buffer.from(JSON.stringify(await redis.xrange(key, '-', '+')))]
    default:
      return []
  }
}
