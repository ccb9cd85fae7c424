import { z } from 'zod'
import { isProxyUrl } from '../lib/proxy.ts'
import { count, duration, headerName, headerSecret, httpUrl, webOrigin } from './schema-parts.ts'

export const serverSchema = z.strictObject({
  host: z
    .string()
    .regex(/^\S+$/, { error: 'expected a host name or an address' })
    .prefault('127.0.0.1')
    .describe(
      'Address to listen on. Beyond loopback it needs tenants. HOST in the environment overrides it. Restart to change.',
    ),
  port: z
    .int()
    .min(0)
    .max(65535)
    .prefault(8080)
    .describe(
      'Port to listen on; 0 takes a free one. PORT in the environment overrides it. Restart to change.',
    ),
  public_url: httpUrl()
    .optional()
    .describe(
      'How clients reach the API from outside, for links in webhooks. Default: http:// with host and port. Restart to change.',
    ),
  cors: z
    .strictObject({
      origins: z
        .array(webOrigin())
        .prefault([])
        .describe(
          'Origins of web pages that may call /v1 from a browser and open its WebSocket. Default: none but the pages of this service.',
        ),
    })
    .prefault({})
    .describe('Which web pages of other origins may call the API.'),
  max_streams_per_tenant: count()
    .prefault(1_000)
    .describe('Event streams a tenant may have open at once on one API process. Restart to change.'),
  early_headers: duration({ max: '1h' })
    .prefault('10s')
    .describe(
      'How long an OpenAI-compatible stream waits for its first piece before the headers are sent without it. A failure after that is an event of the stream.',
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
      'Proxy for calls to providers, webhooks and traces: an http:// or https:// URL, which may hold a user and a password; "none": no proxy, whatever the environment says. Default: HTTPS_PROXY and HTTP_PROXY of the environment. Restart to change.',
    ),
  no_proxy: z
    .array(z.string().regex(/^[^\s,]+$/, { error: 'expected one host, such as localhost or .internal' }))
    .optional()
    .describe(
      'Hosts that are reached directly, each with its subdomains, and with :port for that port alone. Default: NO_PROXY of the environment. Restart to change.',
    ),
})

export const logSchema = z.strictObject({
  level: z
    .enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'])
    .prefault('info')
    .describe('Least severe messages to log.'),
})

export const tracingSchema = z.strictObject({
  endpoint: httpUrl()
    .optional()
    .describe(
      'Where spans are sent: an OTLP/HTTP URL such as http://127.0.0.1:4318/v1/traces. None: nothing is traced.',
    ),
  headers: z.record(headerName, headerSecret()).prefault({}).describe('HTTP headers to send with the spans.'),
  sample: z
    .number()
    .min(0)
    .max(1)
    .prefault(1)
    .describe('Share of the traces to send, of those whose caller has not decided already.'),
  content: z.boolean().prefault(false).describe('Put prompts and answers into the spans. Default false.'),
  service_name: z
    .string()
    .min(1)
    .max(255)
    .prefault('sluice')
    .describe('Whose the spans are: `service.name`.'),
})
