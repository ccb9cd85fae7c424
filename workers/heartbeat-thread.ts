/**
 * The thread that renews what its process holds in the store, even while the main loop of the process is busy. Only
 * heartbeat.ts starts it, and shares the holdings with it. It ends with the process.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { createLeases } from '../jobs/leases.ts'
import { describeError } from '../lib/describe-error.ts'
import { createRedis } from '../lib/redis.ts'
import { createGate } from '../ratelimit/create-gate.ts'
import type { FromThread, HeartbeatThreadData } from './heartbeat.ts'
import { createRenewal, type HoldingsChange } from './renewal.ts'

const { redis: target, prefix, lockMs, placeMs, renewMs, hungMs, memory } = workerData as HeartbeatThreadData
const port = parentPort!
const redis = createRedis({ ...target, role: 'commands', name: 'sluice-worker-heartbeat' })
const renewal = createRenewal({
  leases: createLeases({ redis, prefix, lockMs, placeMs }),
  gate: createGate({ redis, prefix }),
  memory,
})
const tell = (message: FromThread) => port.postMessage(message)

let lastSign = performance.now()
let isGivenUp = false
let isRenewing = false

port.on('message', (change: HoldingsChange) => {
  lastSign = performance.now()
  renewal.apply(change)
})

async function renew(): Promise<void> {
  const isHung = performance.now() - lastSign > hungMs
  if (isHung !== isGivenUp) tell({ kind: isHung ? 'gave_up' : 'resumed' })
  isGivenUp = isHung
  if (isHung || isRenewing) return
  isRenewing = true
  try {
    await renewal.renew()
    tell({ kind: 'renewed' })
  } catch (error) {
    const { type, message, code } = describeError(error)
    tell({ kind: 'failed', error: { name: type, message, ...(code === undefined ? {} : { code }) } })
  } finally {
    isRenewing = false
  }
}

setInterval(renew, renewMs)
port.once('message', renew)
