import { breakHistory } from './break-history.ts'
import { breakProvider } from './break-provider.ts'
import { breakRedis } from './break-redis.ts'
import { cancelMany } from './cancel-many.ts'
import { clocks } from './clocks.ts'
import { cutRedis } from './cut-redis.ts'
import { emptyRedis } from './empty-redis.ts'
import type { Fault } from './fault.ts'
import { fillRedis } from './fill-redis.ts'
import { killApis } from './kill-apis.ts'
import { killAwaited } from './kill-awaited.ts'
import { killBatchWorkers } from './kill-batch-workers.ts'
import { killFlows } from './kill-flows.ts'
import { killOrders } from './kill-orders.ts'
import { killPictures } from './kill-pictures.ts'
import { killSchedules } from './kill-schedules.ts'
import { killStored } from './kill-stored.ts'
import { killWorkers } from './kill-workers.ts'
import { lateRedis } from './late-redis.ts'
import { mix } from './mix.ts'
import { poisonTenant } from './poison-tenant.ts'
import { poisonWorker } from './poison-worker.ts'
import { reconnect } from './reconnect.ts'
import { rollOut } from './roll-out.ts'
import { silenceWorkers } from './silence-workers.ts'
import { silentConnection } from './silent-connection.ts'
import { stopWorkers } from './stop-workers.ts'

/** Every fault, in the order in which they run. */
export const FAULTS: readonly Fault[] = [
  killWorkers,
  killStored,
  killPictures,
  ...killSchedules,
  ...killFlows,
  killOrders,
  killAwaited,
  killBatchWorkers,
  ...silenceWorkers,
  poisonWorker,
  clocks,
  lateRedis,
  ...breakRedis,
  emptyRedis,
  silentConnection,
  ...fillRedis,
  cutRedis,
  ...breakHistory,
  stopWorkers,
  rollOut,
  killApis,
  reconnect,
  breakProvider,
  cancelMany,
  poisonTenant,
  mix,
]
