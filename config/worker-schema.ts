import { z } from 'zod'
import { duration } from './schema-parts.ts'

const listen = z.strictObject({
  host: z
    .string()
    .regex(/^\S+$/, { error: 'expected a host name or an address' })
    .prefault('127.0.0.1')
    .describe(
      'Address for it. No key is asked there: loopback, or a private network. WORKER_HOST in the environment overrides it. Restart to change.',
    ),
  port: z
    .int()
    .min(0)
    .max(65535)
    .describe(
      'Port for it; 0 takes a free one. WORKER_PORT in the environment overrides it. Restart to change.',
    ),
})

export const workerSchema = z.strictObject({
  listen: listen
    .optional()
    .describe(
      'Where a worker answers /healthz, /readyz and /metrics, without a key. Without it a worker does not listen. Restart to change.',
    ),
  hung_after: duration({ min: '1s', max: '1d' })
    .prefault('5m')
    .describe(
      'After how long without a turn of its main loop a worker that still runs is taken for hung, and its jobs go to others. Restart to change.',
    ),
  spool: z
    .string()
    .regex(/^[^\0]+$/, { error: 'expected the path of a folder' })
    .prefault('.sluice/spool')
    .describe(
      'Folder for results that Redis does not take: they are stored from there, also after the death of their worker. Restart to change.',
    ),
})
