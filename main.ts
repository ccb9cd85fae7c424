import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { Command, CommanderError, InvalidArgumentError } from 'commander'
import type { Logger } from 'pino'
import { CliError, ExitCode } from './cli/exit.ts'
import { addCommands } from './cli/program.ts'
import { findWeakKeys } from './config/key-strength.ts'
import { ConfigError, findConfigPath, loadConfig } from './config/load.ts'
import type { Config } from './config/schema.ts'
import { findUnpriced } from './config/unpriced.ts'
import { createLiveConfig, watchConfig } from './config/watch.ts'
import { describeError, shownWhole } from './lib/describe-error.ts'
import { nameRedis } from './lib/redis-fault.ts'
import type { Service } from './services/closers.ts'
import { createLog, reportCrashes } from './services/log.ts'
import { warnOfUnpriced } from './services/unpriced-log.ts'

const { version } = JSON.parse(readFileSync(new URL('./package.json', import.meta.url), 'utf8'))

/** After SIGTERM, calls under way may take this long before the process exits. */
const SHUTDOWN_MS = 30_000

/**
 * How much the heap may grow before V8 collects all of it, in percent of the used part. V8's default allows up to four times as much, so
 * that a process that used 75 MiB of heap took 400 MiB and more (docs/performance.md).
 */
const HEAP_GROWTH = '--heap-growing-percent=40'

/** Only `all` starts its own Redis. The other roles share one, so it must be configured. */
class NoRedisError extends Error {
  readonly [shownWhole] = true
  override readonly message =
    'redis.url: expected a redis:// URL (or REDIS_URL); only `all` starts its own Redis'
}

type Role = 'api' | 'worker' | 'all'

const program = new Command('sluice')
  .description('A self-hosted queue between applications and LLM providers.')
  .version(version)
  .enablePositionalOptions()
  .exitOverride()
  .addHelpText('after', '\nTo see it at work: npx sluice demo, or npm run demo in a clone.')

for (const [role, description] of [
  ['api', 'serve the HTTP API'],
  ['worker', 'run jobs: calls, retries, webhooks'],
  ['all', 'api and worker in one process, with a Redis of its own if none is configured'],
] as const) {
  program
    .command(role)
    .aliases(role === 'all' ? ['start'] : [])
    .description(description)
    .option('-c, --config <path>', 'configuration file (default: SLUICE_CONFIG, then ./sluice.yaml)')
    .option('-p, --port <number>', 'port to listen on (default: PORT, then the configuration)', toPort)
    .action((options: { config?: string; port?: number }) => run(role, options))
}

program
  .command('simulator')
  .description('run an OpenAI-compatible server with enforced limits and faults on demand; no key, no cost')
  .allowUnknownOption()
  .helpOption(false)
  .argument('[options...]')
  .action(async () => {
    const { runSimulator } = await import('./simulator/cli.ts')
    const running = await runSimulator(process.argv.slice(3))
    if (running) onSignals(() => running.close())
  })

addCommands(program, process)

reportCrashes(null)
program.parseAsync().catch((error: unknown) => {
  // Commander has already printed it.
  if (error instanceof CommanderError) process.exit(error.exitCode === 0 ? ExitCode.ok : ExitCode.usage)
  const isConfig = error instanceof ConfigError || error instanceof NoRedisError
  // The messages of these errors are for people. Of any other error only the parts that a log may show are printed.
  const isOurs = isConfig || error instanceof CliError
  process.stderr.write(`${isOurs ? error.message : describeError(error).message}\n`)
  if (error instanceof CliError) process.exit(error.exitCode)
  process.exit(isConfig ? ExitCode.config : ExitCode.failed)
})

/** How long the history of `npm start` is kept. */
const OWN_HISTORY_MS = 90 * 86_400_000

async function run(role: Role, options: { config?: string; port?: number }): Promise<void> {
  setFlagsFromString(HEAP_GROWTH)
  const env = options.port === undefined ? process.env : { ...process.env, PORT: String(options.port) }
  const closers: (() => Promise<unknown>)[] = []
  const path = findConfigPath({
    env,
    cwd: process.cwd(),
    ...(options.config === undefined ? {} : { path: options.config }),
  })
  const tryout = role === 'all' && !existsSync(path) && options.config === undefined && !env.SLUICE_CONFIG
  let config: Config
  if (tryout) {
    const { createSimulator } = await import('./simulator/simulator.ts')
    const { tryoutConfig, tryoutSimulator } = await import('./tryout.ts')
    const simulator = createSimulator(tryoutSimulator)
    const url = await simulator.listen(0, '127.0.0.1')
    closers.push(() => simulator.close())
    config = tryoutConfig(url, env)
  } else {
    config = loadConfig({ path, env })
  }
  const log = createLog(config.log.level)
  reportCrashes(log)
  const warnOfUnpriced = createUnpricedWarning(log)
  warnOfWeakKeys(config, log)
  warnOfUnpriced(config)

  if (config.redis.url === undefined && config.redis.cluster === undefined) {
    if (role !== 'all') throw new NoRedisError()
    const { startEmbeddedRedis } = await import('./embedded-redis/embedded-redis.ts')
    const redis = await startEmbeddedRedis({
      directory: join(process.cwd(), '.sluice', 'redis'),
      durable: config.redis.durable,
      log: (line) => log.info(line),
    })
    closers.push(() => redis.close())
    // All processes are this one, so a folder on this machine is the better place for files.
    const files = { ...config.files, store: config.files.store ?? ('folder' as const) }
    config = { ...config, files, redis: { ...config.redis, url: redis.url } }
    config.history ??= {
      url: 'sqlite:.sluice/history.db',
      keep: OWN_HISTORY_MS,
      content: 'full',
    }
  }

  /** A check that needs parts which are loaded later. Earlier changes of the file are not checked by it. */
  let check: (config: Config) => Promise<void> = async () => {}
  const live = createLiveConfig(config)
  if (!tryout) {
    const watcher = watchConfig({
      path,
      env,
      load: async (options) => {
        const next = loadConfig(options)
        await check(next)
        return next
      },
      onChange: (next) => {
        warnOfWeakKeys(next, log)
        warnOfUnpriced(next)
        log.level = next.log.level
        const ignored = live
          .replace(next)
          .filter((member) => member !== 'redis.url' || next.redis.url !== undefined)
          .filter((member) => member !== 'files.store' || next.files.store !== undefined)
        log.info(
          ignored.length > 0 ? { restart_needed_for: ignored } : {},
          'the configuration changed and is in effect',
        )
      },
      onFault: (error) =>
        log.error({ err: error }, 'the changed configuration has faults; the old one stays'),
    })
    closers.push(async () => watcher.close())
  }

  // Loaded here, because it takes half a second that commands do not need.
  const { openApi, openWorker } = await import('./services.ts')
  const { checkDeclaredSchedules } = await import('./services/declared-schedules.ts')
  check = checkDeclaredSchedules
  await check(live.current())
  const { createRedisFaultLog } = await import('./services/redis-fault-log.ts')
  const { createMetrics } = await import('./telemetry/metrics.ts')
  const metrics = createMetrics({ version, now: () => performance.now(), ofProcess: true })
  closers.push(async () => metrics.close())
  const redisFaults = createRedisFaultLog({
    log,
    address: nameRedis(config.redis),
    now: () => performance.now(),
  })
  const services: Service[] = []
  const closeAll = async () => {
    for (const service of services.reverse()) await service.close()
    for (const close of closers.reverse()) await close()
  }
  const open = async () => {
    const deps = { config: live, log, version, metrics, redisFaults }
    if (role !== 'api') services.push(await openWorker(deps))
    if (role !== 'worker') services.push(await openApi(deps))
  }
  const opening = open()
  // Registered before it is open: a signal during the start waits for it to open, and closes it.
  onSignals(() => opening.then(closeAll))
  try {
    await opening
  } catch (error) {
    await closeAll()
    throw error
  }
  const url = services.find((service) => service.url !== undefined)?.url
  log.info({ role, ...(url === undefined ? {} : { dashboard: `${url}/dashboard`, url }) }, 'ready')
  if (url === undefined) return
  if (tryout) process.stdout.write(firstSteps(url))
  else if (process.stdout.isTTY) process.stdout.write(addresses(url))
}

/** Closes and ends the process at the first SIGTERM or SIGINT, and ends it at once at the second. */
function onSignals(close: () => Promise<unknown>): void {
  let closing = false
  const end = () => {
    if (closing) process.exit(130)
    closing = true
    setTimeout(() => process.exit(1), SHUTDOWN_MS).unref()
    close().then(
      () => process.exit(0),
      () => process.exit(1),
    )
  }
  process.on('SIGTERM', end)
  process.on('SIGINT', end)
}

function warnOfWeakKeys(config: Config, log: Logger): void {
  const keys = findWeakKeys(config)
  if (keys.length > 0)
    log.warn({ keys }, 'these keys hold less than 128 bits; `sluice keys new` makes a good one')
}

/** Reports each lane once. */
function createUnpricedWarning(log: Logger): (config: Config) => void {
  const named = new Set<string>()
  return (config) => {
    const found = findUnpriced(config).filter(({ lane }) => !named.has(lane))
    for (const { lane } of found) named.add(lane)
    warnOfUnpriced(log, found)
  }
}

function toPort(text: string): number {
  const port = Number(text)
  if (!Number.isInteger(port) || port < 0 || port > 65535)
    throw new InvalidArgumentError('expected a port, 0 to 65535')
  return port
}

/** Printed for people at a terminal; log collectors read the line before. */
function addresses(url: string): string {
  return `\nSluice runs at ${url}. The dashboard is at ${url}/dashboard, and the API is described at ${url}/docs. Ctrl+C stops it.\n\n`
}

function firstSteps(url: string): string {
  const job = (type: string, body: object) => `'${JSON.stringify({ type, body })}'`
  return `
Sluice runs at ${url} with a simulated provider: no key, no cost. Try:

  curl -s ${url}/v1/jobs -H 'content-type: application/json' -d ${job('chat', {
    model: 'sim/chat-small',
    messages: [{ role: 'user', content: 'Hello' }],
  })}
  curl -s "${url}/v1/jobs?limit=1"
  curl -sN ${url}/v1/jobs/<id of the job>/events

The dashboard is at ${url}/dashboard, and the API is described at ${url}/docs. Ctrl+C stops Sluice; the jobs stay in .sluice/.

`
}
