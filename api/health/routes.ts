import { z } from 'zod'
import { showReadiness } from '../../history/state.ts'
import type { Api, RouteContext } from '../deps.ts'
import { ApiError } from '../errors.ts'
import { errorResponses } from '../schemas/common.ts'

const tags = ['Operations']
const config = { access: 'public' } as const
const answer = z.object({ status: z.literal('ok'), version: z.string() })
const readiness = answer.extend({
  history: z
    .enum(['available', 'unavailable'])
    .optional()
    .describe(
      'Whether the database of finished jobs answers this process and accepts finished jobs. Without it, jobs are still accepted and run. ' +
        'Absent: there is no history.',
    ),
  history_fails: z
    .enum(['everything', 'writes'])
    .optional()
    .describe(
      'Which operations of an unavailable history fail. `writes`: it can be read but accepts nothing more, for example ' +
        'because its disk is full; finished jobs stay in Redis.',
    ),
})

/** For supervisors and load balancers. No key is needed. */
export function registerHealthRoutes(app: Api, { deps, closing }: RouteContext): void {
  const ok = { status: 'ok' as const, version: deps.server.version }

  app.get(
    '/healthz',
    {
      config,
      schema: {
        tags,
        operationId: 'isAlive',
        summary: 'Whether the process is alive',
        security: [],
        response: { 200: answer, ...errorResponses },
      },
    },
    async () => ok,
  )

  app.get(
    '/readyz',
    {
      config,
      schema: {
        tags,
        operationId: 'isReady',
        summary: 'Whether the process can serve',
        security: [],
        response: { 200: readiness, ...errorResponses },
      },
    },
    async () => {
      if (closing.aborted) throw new ApiError('unavailable', 'the server is closing')
      const state = await deps.server.ready()
      if (!state.ok) throw new ApiError('unavailable', state.reason ?? 'not ready')
      const history = await deps.history.state?.read()
      return history === undefined ? ok : { ...ok, ...showReadiness(history) }
    },
  )
}
