import { z } from 'zod'
import { duration } from './schema-parts.ts'

const listen = z.strictObject({
  host: z
    .string()
    .regex(/^\S+$/, { error: 'expected a host name or an address' })
    .prefault('127.0.0.1')
    .describe(
      'The address for it. It needs no key: use loopback or a private network. WORKER_HOST in the environment overrides it. Restart to change.',
    ),
  port: z
    .int()
    .min(0)
    .max(65535)
    .describe(
      'The port; 0 chooses a free one. WORKER_PORT in the environment overrides it. Restart to change.',
    ),
})

export const workerSchema = z.strictObject({
  listen: listen
    .optional()
    .describe(
      'The port on which a worker answers /healthz, /readyz and /metrics, without a key. Without it, a worker does not listen. Restart to change.',
    ),
  hung_after: duration({ min: '1s', max: '1d' })
    .prefault('5m')
    .describe(
      "How long a worker's main loop may be blocked before the worker counts as hung and others take over its jobs. Restart to change.",
    ),
  spool: z
    .string()
    .regex(/^[^\0]+$/, { error: 'expected the path of a folder' })
    .prefault('.sluice/spool')
    .describe(
      'Folder for results that Redis cannot accept at the moment. They are stored later, even if their worker dies. Restart to change.',
    ),
})
