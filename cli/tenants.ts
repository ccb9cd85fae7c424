import { type Client, RefusedError } from './client.ts'
import { CliError, ExitCode } from './exit.ts'
import { connect, type ServerOptions, type Terminal } from './terminal.ts'

/** A tenant whose jobs a command sees. `tenant`: its name if the command sees several, otherwise null. */
export type Seen = { tenant: string | null; client: Client }

/** Number of tenants that are asked at the same time. */
const AT_ONCE = 16

/**
 * The tenants that a key may see: all of them for an admin key, unless `--tenant` names one; otherwise its own.
 *
 * @param firstPatienceMs patience of the first request, because a server that was never there may be given up sooner
 */
export async function connectSeen(
  terminal: Terminal,
  options: ServerOptions,
  settings: { patienceMs: number },
  firstPatienceMs = settings.patienceMs,
): Promise<Seen[]> {
  const own = connect(terminal, options, settings)
  if (options.tenant !== undefined) return [{ tenant: null, client: own }]
  const names = await listTenants(own, firstPatienceMs)
  if (names.length < 2) return [{ tenant: null, client: own }]
  return names.map((tenant) => ({ tenant, client: connect(terminal, { ...options, tenant }, settings) }))
}

/** Asks for each tenant, several at a time, and returns the answers in their order. */
export async function askEach<T>(
  seen: readonly Seen[],
  ask: (one: Seen) => Promise<T>,
): Promise<{ tenant: string | null; answer: T }[]> {
  const answers: { tenant: string | null; answer: T }[] = []
  for (let at = 0; at < seen.length; at += AT_ONCE) {
    const block = seen.slice(at, at + AT_ONCE)
    const told = await Promise.all(block.map(async (one) => ({ tenant: one.tenant, answer: await ask(one) })))
    answers.push(...told)
  }
  return answers
}

/**
 * The tenant that owns the resource of a path. Throws the server's error if no tenant has it, and a usage error if several have it, which
 * is possible for groups.
 *
 * @param what the resource, for people: `group nightly`
 */
export async function findOwner(seen: readonly Seen[], path: string, what: string): Promise<Seen> {
  if (seen.length === 1) return seen[0]!
  const refusals: RefusedError[] = []
  const answers = await askEach(seen, async ({ client }) => {
    try {
      await client.request('GET', path)
      return true
    } catch (error) {
      if (!(error instanceof RefusedError && error.status === 404)) throw error
      refusals.push(error)
      return false
    }
  })
  const owners = seen.filter((_one, index) => answers[index]!.answer)
  if (owners.length === 0) throw refusals[0]!
  if (owners.length > 1) {
    const names = owners.map(({ tenant }) => tenant).join(', ')
    throw new CliError(ExitCode.usage, `${what}: several tenants have one (${names}); name one with --tenant`)
  }
  return owners[0]!
}

/** Adds the tenant to output for scripts if the command sees several tenants. */
export function withTenant(tenant: string | null, value: object): object {
  return tenant === null ? value : { tenant, ...value }
}

async function listTenants(client: Client, patienceMs: number): Promise<string[]> {
  try {
    const { data } = await client.json<{ data: { id: string }[] }>('GET', '/v1/tenants', {
      patienceMs,
    })
    return data.map(({ id }) => id)
  } catch (error) {
    // The key of a tenant, which sees only its own tenant.
    if (error instanceof RefusedError && error.status === 403) return []
    throw error
  }
}
