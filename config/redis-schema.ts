import { z } from 'zod'
import { namePattern } from './schema-parts.ts'

const expectedRedisUrl = 'expected a redis:// or rediss:// URL, without blanks and line breaks'

const pemFile = z.string().regex(/^[^\0]+$/, { error: 'expected the path of a PEM file' })

const redisTls = z
  .strictObject({
    ca: pemFile
      .optional()
      .describe(
        'PEM file of the certificate authorities to trust. Default: those of Node. Restart to change.',
      ),
    cert: pemFile
      .optional()
      .describe('PEM file of the certificate to show Redis, with its key. Restart to change.'),
    key: pemFile.optional().describe('PEM file of the private key of cert. Restart to change.'),
  })
  .refine(({ cert, key }) => (cert === undefined) === (key === undefined), {
    error: 'expected cert and key together',
  })

export const redisSchema = z.strictObject({
  url: z
    .string()
    .regex(/^(?:rediss?:\/\/\S+)?$/, { error: expectedRedisUrl })
    .transform((text) => (text === '' ? undefined : text))
    .optional()
    .describe(
      'redis:// or rediss:// (TLS) URL. If it is missing or empty, npm start runs a Redis of its own. Restart to change.',
    ),
  cluster: z
    .array(z.string().regex(/^rediss?:\/\/\S+$/, { error: expectedRedisUrl }))
    .min(1)
    .optional()
    .describe('URLs of some nodes of a Redis Cluster, instead of url. Restart to change.'),
  tls: redisTls
    .optional()
    .describe('Certificates for rediss:// URLs, if the usual ones are not enough. Restart to change.'),
  prefix: z
    .string()
    .regex(namePattern, { error: 'expected letters, digits and . _ - only, 64 at the most' })
    .prefault('sluice')
    .describe('The start of every Redis key. Restart to change.'),
  memory_share: z
    .number()
    .min(0.05)
    .max(1)
    .prefault(0.7)
    .describe(
      "Above this share of Redis' maxmemory, new work gets a 503, so that the results of accepted jobs have room. Restart to change.",
    ),
  durable: z
    .boolean()
    .prefault(false)
    .describe(
      'Acknowledge work only after Redis has written it to disk. Redis must support this. Default false. Restart to change.',
    ),
})
