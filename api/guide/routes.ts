import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import fastifyStatic from '@fastify/static'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Api, RouteContext } from '../deps.ts'
import { notFound } from '../errors.ts'
import { sayNotBuilt, wantsHtml } from '../not-built.ts'

const POLICY = [
  "default-src 'none'",
  // The pages contain no inline scripts (scripts/site/build.ts).
  "script-src 'self'",
  // Syntax highlighting uses inline styles.
  "style-src 'self' 'unsafe-inline'",
  "connect-src 'self'",
  "img-src 'self' data:",
  "font-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

const NOT_BUILT = { what: 'the guide', command: 'npm run docs:site' }

/** Paths of built files. None begins with a dot, and no other path is looked up. */
const PATH = /^[\w@-][\w.@-]*(?:\/[\w@-][\w.@-]*)*$/

/** The names of these files contain a hash of their content. */
const ASSETS = /^assets\//
const FOR_EVER = { immutable: true, maxAge: '365d' }

const options = { config: { access: 'public', isPage: true }, schema: { hide: true } } as const

/** The site built from docs/. It is public, like the pages in the repository. */
export async function registerGuideRoutes(app: Api, { deps }: RouteContext): Promise<void> {
  const folder = deps.server.folders.guide
  await app.register(fastifyStatic, { serve: false })
  app.addHook('onSend', async (_request, reply, payload) => {
    reply.header('content-security-policy', POLICY)
    return payload
  })

  // Checked on each request: the build may finish while the server runs.
  const isBuilt = () => existsSync(join(folder, 'index.html'))

  // Links on the page are relative to this path. A relative redirect also works below the path of a proxy.
  app.get('/docs/guide', options, (request, reply) =>
    isBuilt() ? reply.redirect('guide/') : sayNotBuilt(request, reply, NOT_BUILT),
  )

  app.get('/docs/guide/*', options, (request, reply) => {
    if (!isBuilt()) return sayNotBuilt(request, reply, NOT_BUILT)
    const path = (request.params as { '*': string })['*']
    const file = findFile(folder, path)
    if (file === null || file === '404.html') return sayNotFound(request, reply, folder, path)
    // Links of a page are relative: that of a folder has to be asked for with its slash.
    if (file === `${path}/index.html`) return reply.redirect(`${path.slice(path.lastIndexOf('/') + 1)}/`)
    if (ASSETS.test(file)) return reply.sendFile(file, folder, FOR_EVER)
    return reply.header('cache-control', 'no-cache').sendFile(file, folder, { cacheControl: false })
  })
}

/** The file for a path of the site: pages omit `.html`, and a folder has an `index.html`. */
function findFile(folder: string, path: string): string | null {
  const trimmed = path.replace(/\/$/, '')
  if (trimmed === '') return 'index.html'
  if (!PATH.test(trimmed)) return null
  const tried =
    path === trimmed ? [trimmed, `${trimmed}.html`, `${trimmed}/index.html`] : [`${path}index.html`]
  return tried.find((file) => statSync(join(folder, file), { throwIfNoEntry: false })?.isFile()) ?? null
}

function sayNotFound(
  request: FastifyRequest,
  reply: FastifyReply,
  folder: string,
  path: string,
): FastifyReply {
  if (!wantsHtml(request)) throw notFound('route')
  // The page names its files relative to the first folder.
  const depth = path.split('/').length - 1
  if (depth > 0) return reply.redirect(`${'../'.repeat(depth)}404`)
  return reply
    .code(404)
    .header('cache-control', 'no-cache')
    .sendFile('404.html', folder, { cacheControl: false })
}
