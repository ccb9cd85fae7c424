import type { Dialect } from './dialects/dialect.ts'
import { SERVERS } from './dialects/servers.ts'
import { SERVICES } from './dialects/services.ts'

export const DIALECTS: Readonly<Record<string, Dialect>> = { ...SERVICES, ...SERVERS }

/** Finds a dialect by its name; undefined: there is none. */
export function findDialect(name: string): Dialect | undefined {
  return Object.hasOwn(DIALECTS, name) ? DIALECTS[name] : undefined
}
