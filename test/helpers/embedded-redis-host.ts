/**
 * A program with an embedded Redis, for tests that kill it: `node embedded-redis-host.ts FOLDER [finish]`. It prints
 * where its Redis is and stays; with `finish` it leaves without closing Redis.
 */
import { execFileSync } from 'node:child_process'
import { startEmbeddedRedis } from '../../embedded-redis/embedded-redis.ts'

const [directory = '', mode] = process.argv.slice(2)
const redis = await startEmbeddedRedis({ directory })
const keeper = execFileSync('ps', ['-o', 'ppid=', '-p', String(redis.pid)], { encoding: 'utf8' }).trim()
console.log(`redis=${redis.pid} keeper=${keeper} url=${redis.url}`)
if (mode !== 'finish') setInterval(() => {}, 60_000)
