import { createHash } from 'node:crypto'
import fastifySwagger, { type SwaggerTransformObject } from '@fastify/swagger'
import fastifyApiReference from '@scalar/fastify-api-reference'
import { jsonSchemaTransform, jsonSchemaTransformObject } from 'fastify-type-provider-zod'
import type { Access } from './auth.ts'
import type { Api } from './deps.ts'
import { describeFiles } from './openapi-forms.ts'
import { declareHeaders, type Operation } from './openapi-headers.ts'

type OpenApiDocument = ReturnType<SwaggerTransformObject>

const documentPath = '/openapi.json'

/**
 * Describes the routes that are registered after it. Await it before registering them.
 *
 * @param url how clients reach the service; `/` if only they know
 */
export async function registerOpenApi(
  app: Api,
  { version, url }: { version: string; url: string },
): Promise<void> {
  await app.register(fastifySwagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Sluice',
        version,
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
        description:
          'A queue between applications and LLM providers. Every error has the format of `ErrorAnswer`.',
      },
      tags: [
        { name: 'Jobs', description: 'Submit work and get its answer.' },
        { name: 'Schedules', description: 'Create jobs at fixed times or intervals.' },
        { name: 'Failures', description: 'Failed jobs: count them by cause, queue them again, export them.' },
        { name: 'OpenAI-compatible', description: 'The API of OpenAI, for its clients.' },
        { name: 'Anthropic-compatible', description: 'The API of Anthropic, for its clients.' },
        {
          name: 'Durable runs',
          description: 'Steps of functions that survive their process.',
        },
        { name: 'Groups', description: 'Jobs that share a name.' },
        { name: 'Events', description: 'Follow jobs while they run.' },
        { name: 'Webhooks', description: 'Deliveries of webhooks.' },
        { name: 'Lanes', description: 'A lane is one model of one provider. Read, pause and resume lanes.' },
        {
          name: 'Tenants',
          description: 'Tenants, their keys, and the audit log.',
        },
        { name: 'Operations', description: 'For operators of the service.' },
      ],
      components: { securitySchemes: { key: { type: 'http', scheme: 'bearer' } } },
      security: [{ key: [] }],
      servers: [{ url, description: 'This service.' }],
    },
    transform: (input) => addTenantHeader(jsonSchemaTransform(input), input.route.config?.access ?? 'admin'),
    transformObject: (input) =>
      describeFiles(declareAllHeaders(pruneComponents(jsonSchemaTransformObject(input)))),
  })
}

/** Documents `x-tenant` on routes where it has an effect. The key check reads it, not the routes. */
function addTenantHeader<Described extends { schema: object | null }>(
  described: Described,
  access: Access,
): Described {
  if ((access !== 'read' && access !== 'jobs') || described.schema === null) return described
  const description = 'With an admin key: the tenant to act as.'
  const headers = { type: 'object', properties: { 'x-tenant': { type: 'string', description } } }
  return { ...described, schema: { ...described.schema, headers } }
}

/** Serves the document and a page that shows it. Register it after all routes. */
export async function registerDocs(app: Api): Promise<void> {
  app.get(documentPath, { config: { access: 'public' }, schema: { hide: true } }, async (_request, reply) =>
    reply.type('application/json; charset=utf-8').send(JSON.stringify(app.swagger())),
  )

  await app.register(async (docs) => {
    docs.addHook('onRoute', (route) => {
      route.config = { ...route.config, access: 'public' }
    })
    // The page's scripts are one file of ours and one inline start script, allowed by its hash. Nothing is loaded from elsewhere.
    docs.addHook('onSend', async (_request, reply, payload) => {
      reply.header('content-security-policy', createPolicy(typeof payload === 'string' ? payload : ''))
      // The package leads to the path that it knows.
      if (reply.getHeader('location') === '/docs/') reply.header('location', 'docs/')
      return payload
    })
    await docs.register(fastifyApiReference, {
      routePrefix: '/docs',
      configuration: {
        // Relative to the page: a proxy may serve Sluice below another path.
        url: `..${documentPath}`,
        pageTitle: 'Sluice API',
        withDefaultFonts: false,
        telemetry: false,
        agent: { disabled: true },
        // Hides the maker's toolbar, and the button that opens their hosted client.
        showDeveloperTools: 'never',
        hideClientButton: true,
        customCss: 'a[href*="utm_source=powered-by"] { display: none }',
        mcp: { disabled: true },
      },
    })
  })
}

function createPolicy(html: string): string {
  const inline = html.startsWith('<!doctype html>')
    ? html.matchAll(/<script(?![^>]*\bsrc=)[^>]*>([\s\S]*?)<\/script>/g)
    : []
  const hashes = [...inline].map(
    ([, code]) =>
      `'sha256-${createHash('sha256')
        .update(code ?? '')
        .digest('base64')}'`,
  )
  return [
    "default-src 'none'",
    ["script-src 'self'", ...hashes].join(' '),
    // The page writes style elements and attributes.
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data:",
    "font-src 'self' data:",
    "connect-src 'self'",
    "worker-src 'self' blob:",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ')
}

function declareAllHeaders(document: OpenApiDocument): OpenApiDocument {
  for (const path of Object.values(document.paths ?? {})) {
    for (const operation of Object.values(path as Record<string, Operation>)) declareHeaders(operation)
  }
  return document
}

/** Keeps only referenced components: each named schema has an input and an output form, and most are unused. */
function pruneComponents(document: OpenApiDocument): OpenApiDocument {
  if (!('openapi' in document)) return document
  const schemas: Record<string, unknown> = document.components?.schemas ?? {}
  const kept = new Set<string>()
  const visit = (value: unknown): void => {
    for (const [, name] of JSON.stringify(value).matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g)) {
      if (name === undefined || kept.has(name)) continue
      kept.add(name)
      visit(schemas[name])
    }
  }
  visit({ ...document, components: undefined })
  const entries = Object.entries(document.components?.schemas ?? {}).filter(([name]) => kept.has(name))
  return {
    ...document,
    components: { ...document.components, schemas: Object.fromEntries(entries) },
  } as OpenApiDocument
}
