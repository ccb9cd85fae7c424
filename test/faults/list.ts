import { breakProvider } from './break-provider.ts'
import { breakRedis } from './break-redis.ts'
import type { Fault } from './fault.ts'
import { freezeWorkers } from './freeze-workers.ts'
import { killApis } from './kill-apis.ts'
import { killWorkers } from './kill-workers.ts'
import { mix } from './mix.ts'
import { stopWorkers } from './stop-workers.ts'

/** Every fault, in the order in which they are carried out. */
export const FAULTS: readonly Fault[] = [
  killWorkers,
  freezeWorkers,
  ...breakRedis,
  stopWorkers,
  killApis,
  breakProvider,
  mix,
]
