import { z } from 'zod'
import { tenantNames } from '../../config/tenants.ts'
import type { JobPlace } from '../../jobs/jobs.ts'
import { findTenantOfJob, listOfTenants, type OwnedJob } from '../../jobs/list-tenants.ts'
import { omitResult } from '../../jobs/omission.ts'
import type { Api, RouteContext } from '../deps.ts'
import { abortOnDisconnect } from '../disconnect.ts'
import { idPatterns } from '../errors.ts'
import { errorResponses, listSchema, pageQuery } from '../schemas/common.ts'
import { filterQuery, toFilter } from './list-query.ts'
import { jobSchema } from './schema.ts'
import { METADATA_PREFIX } from './search-query.ts'

/** The position of a job in the lists of all tenants: its creation time, Unix ms, and its id. */
const cursor = z
  .string()
  .regex(/^\d{1,15}:job_[A-Za-z0-9_-]{1,64}$/, { error: 'expected the last_id of the page before' })

const query = z.looseObject({
  ...filterQuery,
  id: z
    .string()
    .regex(idPatterns.job, { error: 'expected the id of a job' })
    .optional()
    .describe('Only this job, of any tenant; other filters are ignored.'),
  ...pageQuery('job'),
  after: cursor.optional().describe('The last_id of the page before.'),
})

const ownedJobSchema = jobSchema
  .extend({ tenant: z.string().describe('The tenant of the job.') })
  .meta({ id: 'OwnedJob' })

const answerSchema = listSchema(ownedJobSchema).extend({
  scanned: z
    .number()
    .optional()
    .describe(
      'About how many jobs were read, if the page ended at the limit of jobs that a page reads. The page may be short; continue with `last_id`.',
    ),
})

function toPlace(text: string): JobPlace {
  const colon = text.indexOf(':')
  return { createdAt: Number(text.slice(0, colon)), id: text.slice(colon + 1) }
}

const toCursor = (place: JobPlace | null) => place && `${place.createdAt}:${place.id}`

/** Lists the jobs of all tenants, for operators. */
export function registerAllJobsRoute(app: Api, { deps, closing }: RouteContext): void {
  const { jobs } = deps.store

  async function findById(id: string): Promise<OwnedJob[]> {
    const tenant = await findTenantOfJob(jobs.statuses, tenantNames(deps.config()), id)
    const job = tenant === null ? null : await jobs.get(tenant, id)
    return job === null ? [] : [{ tenant: tenant!, job: omitResult(job) }]
  }

  app.get(
    '/v1/jobs/all',
    {
      config: { access: 'admin', queryPrefix: METADATA_PREFIX },
      schema: {
        tags: ['Operations'],
        operationId: 'listAllJobs',
        summary: 'List the jobs of all tenants, newest first',
        description:
          'As `GET /v1/jobs`, each job with its `tenant`, and without results. `id` finds one job, and so its tenant. A page looks at ' +
          'about 10,000 jobs at most; continue with `last_id`, which is a position and not an id, as long as `has_more` is true.',
        querystring: query,
        response: { 200: answerSchema, ...errorResponses },
      },
    },
    async (request, reply) => {
      const { id, limit, after } = request.query
      const page =
        id === undefined
          ? await listOfTenants(jobs.list, tenantNames(deps.config()), toFilter(request.query), limit, {
              from: after === undefined ? undefined : toPlace(after),
              signal: abortOnDisconnect(reply, closing),
            })
          : { data: await findById(id), hasMore: false, end: null, scanned: null }
      const [first] = page.data
      return {
        object: 'list' as const,
        data: page.data.map(({ tenant, job }) => ({ ...job, tenant })),
        has_more: page.hasMore,
        first_id: first ? `${Date.parse(first.job.created_at)}:${first.job.id}` : null,
        last_id: toCursor(page.end),
        ...(page.scanned !== null && { scanned: page.scanned }),
      }
    },
  )
}
