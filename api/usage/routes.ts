import { TooManySumsError, USAGE_NAMES, type UsageEntry } from '../../history/usage.ts'
import { seesAllTenants, tenantOf } from '../auth.ts'
import type { Api, RouteContext } from '../deps.ts'
import { ApiError } from '../errors.ts'
import { errorResponses } from '../schemas/common.ts'
import { toCsv } from './csv.ts'
import { usageEntrySchema, usageListSchema, usageQuery } from './schema.ts'

const DAY_MS = 86_400_000
const DAY_CHARACTERS = 'YYYY-MM-DD'.length
/** Name of the last line of a table that `top` cut off. */
const REST = '(rest)'
/** Default length of the range, days. */
const DEFAULT_DAYS = 30

/** Untyped, because the route writes the CSV text itself. */
const response: unknown = {
  200: {
    description: 'Default Response',
    content: { 'application/json': { schema: usageListSchema }, 'text/csv': { schema: usageEntrySchema } },
  },
  ...errorResponses,
}

/** Usage and cost by day, tenant, model, tier and fair key. */
export function registerUsageRoutes(app: Api, { deps }: RouteContext): void {
  app.get(
    '/v1/usage',
    {
      config: { access: 'read' },
      schema: {
        tags: ['Usage'],
        operationId: 'getUsage',
        summary: 'Get usage and cost',
        description:
          'Ended jobs by the day of their end, about a second later. A key with `admin` or `admin: read` sees all tenants, any other its own. ' +
          'Needs a `history`. `Accept: text/csv` returns a table. At most 10,000 rows over all pages; if there are ' +
          'more, `top` returns the most expensive ones and the sums of the rest.',
        querystring: usageQuery,
        response,
      },
    },
    async (request, reply) => {
      const { usage } = deps.history
      if (usage === null) {
        throw new ApiError(
          'invalid_request',
          'usage is added up in the history, which is off: set history.url',
        )
      }
      const { by = ['day'], top = null, limit, after, ...range } = request.query
      const { from, to } = readRange(range, usage.now())
      const { entries, rest } = await usage
        .read({ tenant: seesAllTenants(request) ? null : tenantOf(request).name, by, from, to, top })
        .catch(refuseTooMany)
      const first = Number(after ?? 0)
      const page = entries.slice(first, first + limit)
      const hasMore = entries.length > first + page.length
      if (prefersCsv(request.headers.accept)) {
        const columns = [...USAGE_NAMES.filter((name) => by.includes(name)), ...sumsOf(entries)]
        return reply
          .header('content-type', 'text/csv; charset=utf-8; header=present')
          .header('content-disposition', `attachment; filename="usage-${from}-${to}.csv"`)
          .send(toCsv(columns, rest === null ? entries : [...entries, { ...rest, [columns[0]!]: REST }]))
      }
      return reply.send({
        object: 'list' as const,
        data: page.map((entry) => ({ object: 'usage' as const, ...entry })),
        has_more: hasMore,
        first_id: page.length === 0 ? null : String(first + 1),
        last_id: page.length === 0 ? null : String(first + page.length),
        rest: rest && { object: 'usage' as const, ...rest },
        ...{ from, to },
      })
    },
  )
}

function refuseTooMany(error: unknown): never {
  if (!(error instanceof TooManySumsError)) throw error
  const most = error.most.toLocaleString('en')
  throw new ApiError(
    'invalid_request',
    `query.by: these are more than ${most} rows; ask for the \`top\` ones, name fewer in \`by\`, or a shorter time in \`from\` and \`to\``,
    { param: 'query.by' },
  )
}

/** Names of numeric columns, in the order of the schema. */
function sumsOf(entries: readonly UsageEntry[]): string[] {
  const names = Object.keys(usageEntrySchema.shape)
  const [entry] = entries
  return names.filter((name) =>
    entry === undefined
      ? !['object', ...USAGE_NAMES].includes(name)
      : name === 'cost_usd' || typeof (entry as Record<string, unknown>)[name] === 'number',
  )
}

function prefersCsv(accept: string | undefined): boolean {
  if (accept === undefined) return false
  const places = accept.split(',').map((part) => part.trim().split(';')[0])
  const csv = places.indexOf('text/csv')
  const json = places.indexOf('application/json')
  return csv >= 0 && (json < 0 || csv < json)
}

function readRange({ from, to }: { from?: string | undefined; to?: string | undefined }, now: number) {
  const last = to === undefined ? toDay(now) : to.length === DAY_CHARACTERS ? to : toDay(Date.parse(to) - 1)
  const first =
    from === undefined ? toDay(Date.parse(last) - (DEFAULT_DAYS - 1) * DAY_MS) : toDay(Date.parse(from))
  if (first > last) {
    throw new ApiError('invalid_request', 'query.from: expected a day that is not after `to`', {
      param: 'query.from',
    })
  }
  return { from: first, to: last }
}

function toDay(ms: number): string {
  return new Date(ms).toISOString().slice(0, DAY_CHARACTERS)
}
