import { z } from 'zod'
import { duration, secret } from './schema-parts.ts'

function isHttpUrl(text: string): boolean {
  return URL.canParse(text) && /^https?:$/.test(new URL(text).protocol) && !/\s/.test(text)
}

export const webhooksSchema = z.strictObject({
  secret: secret()
    .refine((text) => !text.startsWith('whsec_') || /^whsec_[A-Za-z0-9+/]+={0,2}$/.test(text), {
      error: 'expected base64 after "whsec_"',
    })
    .optional()
    .describe('Signs deliveries: "whsec_" and base64, or any other text.'),
  allow_private_addresses: z
    .boolean()
    .prefault(false)
    .describe('Also deliver to private and loopback addresses. Default false.'),
  schedule: z
    .array(duration({ min: '0ms', max: '7d' }))
    .min(1)
    .max(32)
    .prefault(['0s', '5s', '5m', '30m', '2h', '5h', '10h', '10h'])
    .describe('The wait before each attempt of a delivery. After the last attempt the delivery has failed.'),
  operations_url: z
    .string()
    .refine(isHttpUrl, { error: 'expected an http:// or https:// URL' })
    .optional()
    .describe(
      'Receives a signed webhook when a budget is 80 % spent and when it is exhausted. Default: no such webhooks.',
    ),
})
