import { existsSync } from 'node:fs'
import { join } from 'node:path'
import fastifyStatic, { type SendOptions } from '@fastify/static'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Api, RouteContext } from '../deps.ts'
import { notFound } from '../errors.ts'
import { sayNotBuilt, wantsHtml } from '../not-built.ts'

const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  // The page fetches images and audio itself, with its key.
  "img-src 'self' data: blob:",
  'media-src blob:',
  "font-src 'none'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

const NOT_BUILT = { what: 'the dashboard', command: 'npm run build' }

/** Paths of built files. None begins with a dot, and no other path is looked up. */
const PATH = /^[\w-][\w.-]*(?:\/[\w-][\w.-]*)*$/

/** The names of these files contain a hash of their content. */
const ASSETS = /^assets\//
const FOR_EVER: SendOptions = { immutable: true, maxAge: '365d' }

const options = { config: { access: 'public', isPage: true }, schema: { hide: true } } as const

/** The page for operators. It contains no data and asks for a key when the API does, so it is public. */
export async function registerDashboardRoutes(app: Api, { deps }: RouteContext): Promise<void> {
  const folder = deps.server.folders.dashboard
  await app.register(fastifyStatic, { serve: false })
  app.addHook('onSend', async (_request, reply, payload) => {
    reply.header('content-security-policy', POLICY)
    return payload
  })

  // Checked on each request: the build may finish while the server runs.
  const isBuilt = () => existsSync(join(folder, 'index.html'))

  function send(request: FastifyRequest, reply: FastifyReply, path: string): FastifyReply {
    if (!isBuilt()) return sayNotBuilt(request, reply, NOT_BUILT)
    if (!PATH.test(path)) throw notFound('route')
    if (ASSETS.test(path)) return reply.sendFile(path, folder, FOR_EVER)
    return reply.header('cache-control', 'no-cache').sendFile(path, folder, { cacheControl: false })
  }

  app.get('/', options, (request, reply) => {
    if (!wantsHtml(request)) throw notFound('route')
    return reply.redirect('dashboard/')
  })

  // The page links to its files relative to its folder, and so does this redirect: a proxy may serve Sluice below another path.
  app.get('/dashboard', options, (request, reply) =>
    isBuilt() ? reply.redirect('dashboard/') : sayNotBuilt(request, reply, NOT_BUILT),
  )

  app.get('/dashboard/*', options, (request, reply) =>
    send(request, reply, (request.params as { '*': string })['*'] || 'index.html'),
  )
}
