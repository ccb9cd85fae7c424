import { shownWhole } from './describe-error.ts'

/** Redis answers, but its settings could lose data: no new work is accepted. */
export class UnfitRedisError extends Error {
  override readonly name = 'UnfitRedisError'
  readonly [shownWhole] = true
}

/** What is wrong with Redis, for people. */
export type RedisFault = {
  /** Equal for the same fault, even if the text differs. */
  kind: string
  /** What is wrong, and what to do. Contains no password. */
  text: string
}

/** Maps errors of Redis and of its connections, by code or beginning of the text, to their meaning; the first match counts. */
const FAULTS: [pattern: RegExp, kind: string, text: string | null][] = [
  [/^UnfitRedisError/, 'unfit', null],
  [
    /ECONNREFUSED/,
    'refused',
    'nothing listens there (connection refused): start Redis, or correct redis.url',
  ],
  [/ENOTFOUND|EAI_AGAIN/, 'unknown_host', 'its host name cannot be resolved: correct redis.url, or the DNS'],
  [/ENOENT|EACCES/, 'no_socket', 'its socket cannot be opened: start Redis, or correct redis.url'],
  [
    /EHOSTUNREACH|ENETUNREACH|EHOSTDOWN|ENETDOWN|ETIMEDOUT/,
    'unreachable',
    'the host cannot be reached: look at the network, firewalls and redis.url',
  ],
  [
    /WRONGPASS|invalid username-password|invalid password/,
    'wrong_password',
    'it refuses the user or the password: correct those of redis.url',
  ],
  [/NOAUTH/, 'no_password', 'it asks for a password, and redis.url has none'],
  [
    /NOPERM/,
    'no_permission',
    'its user may not do what is needed: see "Redis" in docs/security.md for the rules',
  ],
  [/LOADING/, 'loading', 'it is loading its data, and answers when it has'],
  [/READONLY/, 'read_only', 'it is a read-only replica: let redis.url name the primary'],
  [/MISCONF/, 'no_disk', 'it takes no writes, for it cannot save to its disk: see its log'],
  [/OOM/, 'full', 'its memory is full: raise maxmemory, or delete jobs or files'],
  [/NOREPLICAS/, 'no_replicas', 'it takes no writes, for it has too few replicas (min-replicas-to-write)'],
  [
    /CLUSTERDOWN|MASTERDOWN|Cluster|slots cache|startup nodes/,
    'cluster_down',
    'the cluster is down, in part or whole',
  ],
  [/max number of clients/, 'too_many_clients', 'it takes no more connections: raise maxclients'],
  [/CERT|SSL|TLS|self-signed|certificate/, 'tls', 'TLS fails: look at redis.tls and the certificates'],
  [/BUSY/, 'busy', 'it is busy with a script'],
  [/Command timed out|Socket timeout/, 'silent', 'it does not answer'],
  [/ECONNRESET|EPIPE|ECONNABORTED|connection close|Connection is closed/i, 'lost', 'the connection was lost'],
]

/** Consequences of another fault, which say nothing about its cause. */
const CONSEQUENCES = new Set(['lost', 'silent', 'cluster_down'])

/** Null for an error that only follows from an earlier one, whose cause is known or will be. */
export function describeRedisFault(error: unknown): RedisFault | null {
  if (!(error instanceof Error)) return null
  for (const one of listCauses(error)) {
    const code = 'code' in one ? String(one.code) : ''
    const [, kind, text] =
      FAULTS.find(([pattern]) => pattern.test(`${one.name} ${code} ${one.message}`) || pattern.test(code)) ??
      []
    if (kind !== undefined) return { kind, text: text ?? one.message }
  }
  return null
}

/** True if another known fault is the better explanation. */
export function isConsequence({ kind }: RedisFault): boolean {
  return CONSEQUENCES.has(kind)
}

/** The innermost errors first, because they know the cause. */
function listCauses(error: Error): Error[] {
  const inner: unknown[] = [
    error.cause,
    ...('previousErrors' in error && Array.isArray(error.previousErrors) ? error.previousErrors : []),
    ...(error instanceof AggregateError ? error.errors : []),
    'lastNodeError' in error ? error.lastNodeError : undefined,
  ]
  return [...inner.flatMap((one) => (one instanceof Error ? listCauses(one) : [])), error]
}

/** The address of Redis from the configuration, without user and password. */
export function nameRedis(target: {
  url?: string | undefined
  cluster?: readonly string[] | undefined
}): string {
  const urls = target.cluster !== undefined && target.cluster.length > 0 ? target.cluster : [target.url ?? '']
  return urls.map(withoutCredentials).join(', ')
}

function withoutCredentials(text: string): string {
  try {
    const url = new URL(text)
    url.username = ''
    url.password = ''
    url.search = ''
    return url.href
  } catch {
    return text.startsWith('/') ? text : 'redis.url'
  }
}
