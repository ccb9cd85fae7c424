import { z } from 'zod'
import { isHistoryUnavailable } from '../../history/errors.ts'
import type { Api, RouteContext } from '../deps.ts'
import { abortOnDisconnect } from '../disconnect.ts'
import { errorResponses } from '../schemas/common.ts'
import { fillSilences, sendEventStream } from '../sse.ts'
import { sampleSchema } from './history.ts'
import { createSampler } from './sampler.ts'
import { overviewSchema } from './schema.ts'
import { createSnapshots } from './snapshot.ts'

/** Interval of snapshots, ms. */
const INTERVAL_MS = 1_000

const tags = ['Operations']
const access = { access: 'admin' } as const

/** Untyped, because one snapshot is serialized once for all clients. */
const snapshotAnswer: unknown = {
  200: { description: 'One snapshot.', content: { 'application/json': { schema: overviewSchema } } },
  ...errorResponses,
}
const streamAnswer: unknown = {
  200: {
    description: 'Events `overview`, a snapshot each.',
    content: { 'text/event-stream': { schema: overviewSchema } },
  },
  ...errorResponses,
}

/** The overview of the installation, for operators. */
export function registerOverviewRoutes(app: Api, { deps, limits, streams, closing }: RouteContext): void {
  const onError = (error: unknown, what: string) => {
    // An unavailable history has a log line of its own, once.
    deps.server.log[isHistoryUnavailable(error) ? 'debug' : 'warn']({ err: error }, what)
  }
  const snapshot = createSnapshots({
    ...{ config: deps.config, lanes: deps.lanes, tenantStats: deps.tenants.stats },
    ...{ jobs: deps.store.jobs, batches: deps.store.batches, historyState: deps.history.state },
    readMaintainer: deps.overview.readMaintainer,
    onError,
    now: deps.now,
  })
  const sampler = createSampler({
    take: async () => JSON.stringify(await snapshot()),
    interval: INTERVAL_MS,
    onError: (error) => onError(error, 'taking snapshots for the overview'),
    now: () => performance.now(),
  })

  app.get(
    '/v1/overview',
    {
      config: access,
      schema: {
        tags,
        operationId: 'getOverview',
        summary: 'Get a snapshot of the installation',
        description: 'The current lanes, tenants, groups, batches and failures, at most a second old.',
        response: snapshotAnswer,
      },
    },
    async (_request, reply) =>
      reply
        .type('application/json; charset=utf-8')
        .serializer((text: unknown) => text as string)
        .send(await sampler.latest()),
  )

  app.get(
    '/v1/overview/history',
    {
      config: access,
      schema: {
        tags,
        operationId: 'getOverviewHistory',
        summary: 'Get the history of the installation',
        description:
          'Samples of the last ten minutes, every 15 s, and of the last four hours, every two minutes; the oldest first. A worker takes them.',
        response: {
          200: z
            .object({
              object: z.literal('overview_history'),
              recent: z.array(sampleSchema),
              hours: z.array(sampleSchema),
            })
            .meta({ id: 'OverviewHistory' }),
          ...errorResponses,
        },
      },
    },
    async () => ({ object: 'overview_history' as const, ...(await deps.overview.history.read()) }),
  )

  app.get(
    '/v1/overview/events',
    {
      config: access,
      // HEAD would open a stream that never ends.
      exposeHeadRoute: false,
      schema: {
        tags,
        operationId: 'followOverview',
        summary: 'Follow snapshots of the installation',
        description:
          'Server-sent events: a snapshot at once, then one a second. Each is complete, so you need not resume.',
        response: streamAnswer,
      },
    },
    async (request, reply) => {
      const signal = abortOnDisconnect(reply, closing, streams.open(request, reply))
      // An unavailable store is still a plain 503.
      await sampler.latest()
      const text = fillSilences(sampler.watch(signal), formatSnapshot, {
        heartbeat: limits.heartbeat,
        signal,
      })
      return sendEventStream(reply, text)
    },
  )
}

function formatSnapshot(text: string): string {
  return `event: overview\ndata: ${text}\n\n`
}
