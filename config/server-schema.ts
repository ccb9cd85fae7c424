import { z } from 'zod'
import { isProxyUrl } from '../lib/proxy.ts'
import { count, duration, headerName, headerSecret, httpUrl, webOrigin } from './schema-parts.ts'

export const serverSchema = z.strictObject({
  host: z
    .string()
    .regex(/^\S+$/, { error: 'expected a host name or an address' })
    .prefault('127.0.0.1')
    .describe(
      'Address to listen on. Any other than loopback needs tenants. HOST in the environment overrides it. Restart to change.',
    ),
  port: z
    .int()
    .min(0)
    .max(65535)
    .prefault(8080)
    .describe(
      'Port to listen on; 0 chooses a free one. PORT in the environment overrides it. Restart to change.',
    ),
  public_url: httpUrl()
    .optional()
    .describe(
      'The address of the API as clients see it; used for links in webhooks. Default: http:// with host and port. Restart to change.',
    ),
  cors: z
    .strictObject({
      origins: z
        .array(webOrigin())
        .prefault([])
        .describe(
          'Origins of web pages that may call /v1 from a browser and open its WebSocket. Default: only the pages of this service.',
        ),
    })
    .prefault({})
    .describe('Web pages of other origins that may call the API.'),
  max_streams_per_tenant: count()
    .prefault(1_000)
    .describe('Event streams a tenant may have open at once on one API process. Restart to change.'),
  early_headers: duration({ max: '1h' })
    .prefault('10s')
    .describe(
      'How long an OpenAI-compatible stream waits for its first chunk before Sluice sends the headers alone. A later failure is an event of the stream.',
    ),
})

export const networkSchema = z.strictObject({
  proxy: z
    .string()
    .refine((text) => text === 'none' || isProxyUrl(text), {
      error: 'expected the http:// or https:// URL of a proxy, or none',
    })
    .optional()
    .describe(
      'Proxy for calls to providers, webhooks and traces: an http:// or https:// URL, with user and password if needed. "none": no proxy, even if the environment names one. Default: HTTPS_PROXY and HTTP_PROXY of the environment. Restart to change.',
    ),
  no_proxy: z
    .array(z.string().regex(/^[^\s,]+$/, { error: 'expected one host, such as localhost or .internal' }))
    .optional()
    .describe(
      'Hosts that Sluice reaches directly, each with its subdomains; with :port only that port. Default: NO_PROXY of the environment. Restart to change.',
    ),
})

export const logSchema = z.strictObject({
  level: z
    .enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'])
    .prefault('info')
    .describe('The least severe messages to log.'),
})

export const tracingSchema = z.strictObject({
  endpoint: httpUrl()
    .optional()
    .describe(
      'Where spans are sent: an OTLP/HTTP URL such as http://127.0.0.1:4318/v1/traces. Default: no traces.',
    ),
  headers: z.record(headerName, headerSecret()).prefault({}).describe('HTTP headers to send with the spans.'),
  sample: z
    .number()
    .min(0)
    .max(1)
    .prefault(1)
    .describe('The share of traces to send, unless the caller has decided.'),
  content: z.boolean().prefault(false).describe('Put prompts and answers into the spans. Default false.'),
  service_name: z.string().min(1).max(255).prefault('sluice').describe('The `service.name` of the spans.'),
})
