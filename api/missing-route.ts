import type { FastifyRequest } from 'fastify'
import { findNearest } from '../lib/nearest.ts'
import type { Api } from './deps.ts'
import { ApiError } from './errors.ts'

/** Longest path that a message repeats. */
const LONGEST_PATH = 200

/**
 * Answers unknown paths with a 404 that names the path, its allowed methods, or the most similar path. Call it before the routes are
 * registered.
 */
export function registerMissingRoute(app: Api): void {
  const methods = new Map<string, Set<string>>()
  app.addHook('onRoute', ({ method, url, schema }) => {
    if (schema?.hide) return
    const known = methods.get(url) ?? new Set()
    for (const one of [method].flat()) if (one !== 'HEAD' && one !== 'OPTIONS') known.add(one)
    if (known.size > 0) methods.set(url, known)
  })
  app.setNotFoundHandler((request) => {
    throw new ApiError('not_found', describe(request, methods))
  })
}

function describe(request: FastifyRequest, methods: ReadonlyMap<string, ReadonlySet<string>>): string {
  const path = request.url.replace(/[?#].*$/s, '')
  const shown = `${request.method} ${path.length > LONGEST_PATH ? `${path.slice(0, LONGEST_PATH)}…` : path}`
  const candidates = new Map([...methods.keys()].map((url) => [fillParameters(url, path), url]))
  const same = candidates.get(path)
  if (same !== undefined) {
    return `no such route: ${shown}; this path takes ${[...methods.get(same)!].sort().join(', ')}`
  }
  const near = candidates.get(findNearest(path, [...candidates.keys()]) ?? '')
  return near === undefined
    ? `no such route: ${shown}; /openapi.json lists them all`
    : `no such route: ${shown}; did you mean ${[...methods.get(near)!].sort().join(' or ')} ${near}?`
}

/** The route's pattern with the path's own segments in place of parameters, so that only real differences count. */
function fillParameters(url: string, path: string): string {
  const parts = path.split('/')
  return url
    .split('/')
    .map((part, index) => (part.startsWith(':') && parts[index] ? parts[index] : part))
    .join('/')
}
