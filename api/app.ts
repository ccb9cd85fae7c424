import type { Socket } from 'node:net'
import fastify, { type FastifyBaseLogger, LogController } from 'fastify'
import type { Tenant } from '../config/tenants.ts'
import { registerAnthropicRoutes } from './anthropic/routes.ts'
import { callerDecorator, createAuthHook, readActing, tenantDecorator } from './auth.ts'
import { registerBatchRoutes } from './batches/routes.ts'
import { registerBudgetRoutes } from './budgets/routes.ts'
import { registerBulkRoute } from './bulk/routes.ts'
import { registerCallerRoute } from './caller/routes.ts'
import { answerClientError } from './client-errors.ts'
import { registerCompression } from './compression.ts'
import { registerCors } from './cors.ts'
import { registerDashboardRoutes } from './dashboard/routes.ts'
import { registerDeliveryRoutes } from './deliveries/routes.ts'
import type { Api, ApiDeps, RouteContext } from './deps.ts'
import { registerDurableRoutes } from './durable/routes.ts'
import { sendError } from './error-replies.ts'
import { ApiError } from './errors.ts'
import { registerEstimateRoute } from './estimate/routes.ts'
import { registerTenantEventsRoute } from './events/routes.ts'
import { registerFailureRoutes } from './failures/routes.ts'
import { registerFileRoutes } from './files/routes.ts'
import { registerFlowRoutes } from './flows/routes.ts'
import { registerGroupRoutes } from './groups/routes.ts'
import { registerGuideRoutes } from './guide/routes.ts'
import { registerHealthRoutes } from './health/routes.ts'
import { registerAllJobsRoute } from './jobs/all-jobs-route.ts'
import { registerCancelRoutes } from './jobs/cancel-routes.ts'
import { registerEventRoutes } from './jobs/events-routes.ts'
import { registerJobRoutes } from './jobs/routes.ts'
import { registerJsonBody } from './json-body.ts'
import { registerLaneRoutes } from './lanes/routes.ts'
import { createLocalOnlyHook } from './local-only.ts'
import { registerMetricsRoute } from './metrics/routes.ts'
import { registerMissingRoute } from './missing-route.ts'
import { createOpenStreams } from './open-streams.ts'
import { rewriteAzurePath } from './openai/azure-paths.ts'
import { registerModelRoutes } from './openai/models-routes.ts'
import { registerOpenAiRoutes } from './openai/routes.ts'
import { registerDocs, registerOpenApi } from './openapi.ts'
import { addTracing } from './origin.ts'
import { registerOverviewRoutes } from './overview/routes.ts'
import { registerProviderBatchRoutes } from './provider-batches/routes.ts'
import { chooseRequestId } from './request-id.ts'
import { registerScheduleRoutes } from './schedules/routes.ts'
import { addSecurityHeaders } from './security-headers.ts'
import { serializerCompiler } from './serialize.ts'
import { isForSocket, registerSocketRoute } from './socket/routes.ts'
import { registerAuditRoute } from './tenants/audit-route.ts'
import { registerKeyRoutes } from './tenants/key-routes.ts'
import { registerTenantRoutes } from './tenants/routes.ts'
import { registerUsageRoutes } from './usage/routes.ts'
import { createValidatorCompiler, refuseUnknownQuery } from './validation.ts'

const headersTimeout = 5_000
const maxPathParameter = 512
/** How long a body may continue after its answer, ms. With the 10 s before the answer, that stays well within 15 s. */
const surplusTimeout = 3_000

/**
 * Builds the HTTP API. It does not listen: `app.listen` is for the process, `app.inject` for tests.
 *
 * Timeouts: headers get 5 s. The server's own `requestTimeout` is off, because it would cut off slow but valid bulk uploads. Code that
 * reads a body limits its time (`bodyTimeout`, `bulkIdleTimeout`). A body that nobody reads is cut off after its answer.
 */
export function buildApp(deps: ApiDeps): Api {
  const { limits } = deps.server
  const closing = new AbortController()
  const streams = createOpenStreams({
    keyring: deps.tenants.keyring,
    most: () => deps.config().server.max_streams_per_tenant,
    onChange: deps.server.metrics.onStreams,
  })
  const context: RouteContext = { deps, limits, streams, closing: closing.signal }
  const logger: FastifyBaseLogger = deps.server.log

  const app: Api = fastify({
    loggerInstance: logger,
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'request_id' }),
    genReqId: (request) => chooseRequestId(request.headers['x-request-id'], deps.server.createId),
    requestIdHeader: false,
    rewriteUrl: rewriteAzurePath,
    requestTimeout: 0,
    http: {
      headersTimeout,
      connectionsCheckingInterval: 1_000,
      keepAlive: true,
      keepAliveInitialDelay: 30_000,
      // Requests for other upgrades (HTTP/2, for example) are answered without one.
      shouldUpgradeCallback: isForSocket,
    },
    // At close, answers under way get time to finish. The framework's own 503 does not have the shape of our errors.
    forceCloseConnections: 'idle',
    return503OnClosing: false,
    routerOptions: { maxParamLength: maxPathParameter },
    frameworkErrors: (error, request, reply) => sendError(error, request, reply, deps.server.isUnavailable),
    clientErrorHandler: (error, socket) => answerClientError(error, socket as Socket, deps.server.createId),
  })
  app.addHook('onRoute', refuseUnknownQuery)
  app.setValidatorCompiler(createValidatorCompiler({ bodyPrefix: '' }))
  app.setSerializerCompiler(serializerCompiler)
  app.setErrorHandler((error, request, reply) => sendError(error, request, reply, deps.server.isUnavailable))
  registerMissingRoute(app)

  app.decorateRequest<Tenant | null>(tenantDecorator, null)
  app.decorateRequest<Tenant | null>(callerDecorator, null)
  addSecurityHeaders(app)
  registerCors(app, deps)
  registerCompression(app)
  // After the plugins' own hooks, so that a page of an allowed origin can also read refusals.
  app.after(() => {
    addHooks(app, context)
    addTracing(app, deps.server.traceRequest)
  })
  addClosing(app, closing, limits.closeGrace)
  registerJsonBody(app, limits)

  app.register(async (api: Api) => {
    await registerOpenApi(api, { version: deps.server.version, url: deps.config().server.public_url ?? '/' })
    registerHealthRoutes(api, context)
    registerMetricsRoute(api, context)
    registerJobRoutes(api, context)
    registerAllJobsRoute(api, context)
    registerCancelRoutes(api, context)
    registerFailureRoutes(api, context)
    registerGroupRoutes(api, context)
    registerUsageRoutes(api, context)
    registerBudgetRoutes(api, context)
    registerEventRoutes(api, context)
    registerTenantEventsRoute(api, context)
    // In a scope of its own, because its requests become sockets.
    await api.register(async (socket: Api) => registerSocketRoute(socket, context))
    registerDeliveryRoutes(api, context)
    registerLaneRoutes(api, context)
    registerProviderBatchRoutes(api, context)
    registerOverviewRoutes(api, context)
    registerCallerRoute(api, context)
    registerTenantRoutes(api, context)
    registerKeyRoutes(api, context)
    registerAuditRoute(api, context)
    registerModelRoutes(api, context)
    registerBatchRoutes(api, context)
    registerDurableRoutes(api, context)
    registerScheduleRoutes(api, context)
    registerFlowRoutes(api, context)
    // In a scope of its own, because its errors have OpenAI's shape.
    await api.register(async (door: Api) => registerOpenAiRoutes(door, context))
    // In a scope of its own, because its errors have Anthropic's shape.
    await api.register(async (door: Api) => registerAnthropicRoutes(door, context))
    // In a scope of its own, because its bodies are streams.
    await api.register(async (bulk: Api) => registerBulkRoute(bulk, context))
    await api.register(async (estimate: Api) => registerEstimateRoute(estimate, context))
    await api.register(async (files: Api) => registerFileRoutes(files, context))
    // In scopes of their own, because of their content security policies.
    await api.register(async (page: Api) => registerDashboardRoutes(page, context))
    await api.register(async (guide: Api) => registerGuideRoutes(guide, context))
    await registerDocs(api)
  })
  return app
}

function addHooks(app: Api, { deps, limits, closing }: RouteContext): void {
  app.addHook('onRequest', (request, reply, done) => {
    reply.header('x-request-id', request.id)
    if (!closing.aborted) return done()
    // Only connections that were already open get here. Their clients then find another replica.
    reply.header('connection', 'close')
    done(
      request.url === '/healthz'
        ? undefined
        : new ApiError('unavailable', 'the server is closing', { retryAfterSeconds: 1 }),
    )
  })
  app.addHook('onRequest', createLocalOnlyHook({ keyring: deps.tenants.keyring, config: deps.config }))
  app.addHook('onRequest', createAuthHook(deps.tenants))
  app.addHook('onSend', (_request, reply, payload, done) => {
    if (closing.aborted) reply.header('connection', 'close')
    done(null, payload)
  })
  app.addHook('onResponse', (request, reply, done) => {
    const { raw } = request
    const acting = readActing(request)
    const line = {
      method: raw.method,
      route: request.routeOptions.url,
      status: reply.statusCode,
      ms: reply.elapsedTime,
      tenant: request.getDecorator<Tenant | null>(tenantDecorator)?.name,
      job: reply.getHeader('x-job-id') ?? jobOf(reply.getHeader('location')),
    }
    // The log has requests of an administrator who acts as a tenant at its default level.
    if (acting === null) request.log.debug(line, 'answered')
    else request.log.info({ ...line, acting, path: raw.url }, 'answered an administrator acting as a tenant')
    const { method, route, status, ms } = line
    deps.server.metrics.onAnswer({ method: method ?? '', route: route ?? null, status, ms })
    // A body that continues slowly after its answer would hold the connection for ever.
    if (raw.complete === false) {
      const timer = setTimeout(() => raw.destroy(), Math.min(limits.bodyTimeout, surplusTimeout))
      timer.unref()
      raw.once('close', () => clearTimeout(timer))
    }
    done()
  })
}

/** The job that a `Location` header names. */
function jobOf(location: unknown): string | undefined {
  return /^\/v1\/jobs\/([^/]+)$/.exec(String(location ?? ''))?.[1]
}

/** At close, streams and long polls end at once. Answers under way get `closeGrace` ms, then connections are closed. */
function addClosing(app: Api, closing: AbortController, closeGrace: number): void {
  const timers: NodeJS.Timeout[] = []
  app.addHook('preClose', async () => {
    closing.abort()
    // `server.close` looks for idle connections once. Those that become idle later would delay it.
    timers.push(setInterval(() => app.server.closeIdleConnections(), 100))
    timers.push(setTimeout(() => app.server.closeAllConnections(), closeGrace))
  })
  app.addHook('onClose', async () => timers.forEach(clearTimeout))
}
