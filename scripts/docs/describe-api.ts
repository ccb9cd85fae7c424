import { pino } from 'pino'
import { buildApp } from '../../api/app.ts'
import type { Access } from '../../api/auth.ts'
import { type ApiDeps, defaultApiLimits, type ServerParts } from '../../api/deps.ts'
import { configSchema } from '../../config/schema.ts'
import { createKeyring } from '../../config/tenants.ts'
import type { Schema } from './json-schema.ts'

export type Parameter = {
  name: string
  in: string
  required?: boolean
  description?: string
  schema: Schema
}

type Content = { content?: Record<string, { schema?: Schema }> }

export type Operation = {
  operationId?: string
  summary?: string
  description?: string
  tags?: string[]
  parameters?: Parameter[]
  requestBody?: Content & { required?: boolean }
  responses: Record<string, Content>
}

export type ApiDocument = {
  tags: { name: string; description?: string }[]
  paths: Record<string, Record<string, Operation>>
  components: { schemas: Record<string, Schema> }
}

const noProvider = {
  kind: 'openai-compatible',
  base_url: 'http://127.0.0.1:9',
  models: { none: {} },
} as const

/** The OpenAPI document as the API serves it, and which keys may use a route (`GET /v1/jobs/{id}`). */
export async function describeApi(): Promise<{
  document: ApiDocument
  access: ReadonlyMap<string, Access>
}> {
  const config = configSchema.parse({ providers: { none: noProvider } })
  const keyring = createKeyring(config)
  // Routes are described and not called, so only the parts are needed that building them reads.
  const server: Partial<ServerParts> = {
    version: 'reference',
    log: pino({ level: 'silent' }),
    metrics: {
      onAnswer() {},
      onStreams() {},
      onSocket() {},
      onSocketMessage() {},
      render: async () => ({ contentType: 'text/plain', text: '' }),
    },
    traceRequest: null,
    createId: () => 'reference',
    folders: { dashboard: '', guide: '' },
    limits: defaultApiLimits,
  }
  const nothing = {}
  const deps = {
    ...{ server, config: () => config, now: Date.now, tenants: { keyring: () => keyring } },
    ...{ store: nothing, submission: nothing, lanes: nothing, providers: nothing },
    ...{ history: nothing, overview: nothing },
  }
  const app = buildApp(deps as unknown as ApiDeps)
  const access = new Map<string, Access>()
  app.addHook('onRoute', ({ method, url, config }) => {
    for (const name of [method].flat())
      access.set(`${name} ${toDocumentPath(url)}`, config?.access ?? 'admin')
  })
  try {
    const document: ApiDocument = (await app.inject({ url: '/openapi.json' })).json()
    return { document, access }
  } finally {
    await app.close()
  }
}

/** `/v1/jobs/:id` as OpenAPI writes it: `/v1/jobs/{id}`. */
function toDocumentPath(url: string): string {
  return url.replaceAll(/:(\w+)/g, '{$1}').replace(/\*$/, '{*}')
}
