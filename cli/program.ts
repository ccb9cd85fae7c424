import { type Command, InvalidArgumentError, Option } from 'commander'
import { parseDuration } from '../config/units.ts'
import { renderCompletion, type Shell, shells } from './completion.ts'
import { ExitCode } from './exit.ts'
import { openTerminal, type Terminal } from './terminal.ts'

const DEFAULT_URL = 'http://127.0.0.1:8080'
/** Jobs that may be at the server ahead of the results: enough for the fastest lanes, and no memory to speak of. */
const DEFAULT_WINDOW = 10_000
const DEFAULT_OUTPUT_TOKENS = 256
const DEFAULT_PAGE = 20

/** Adds the commands that talk to a server, or look at files for one. Each loads its part only when it runs. */
export function addCommands(program: Command, process: NodeJS.Process): void {
  const run = async (work: (terminal: Terminal) => Promise<ExitCode>): Promise<void> => {
    process.exit(await work(openTerminal(process)))
  }

  server(program.command('submit'), '10m')
    .description('submit job creates or OpenAI batch lines and write their results in order')
    .argument('<file>', 'JSONL: one job or batch line a line')
    .option('-o, --out <path>', 'where results go, and a later run goes on (default: stdout)')
    .option('--retry-failed', 'queue jobs again that failed in an earlier run')
    .option('--window <jobs>', 'jobs at the server ahead of the results', toCount, DEFAULT_WINDOW)
    .action((file, options) =>
      run(async (terminal) => (await import('./submit/command.ts')).runSubmit(terminal, file, options)),
    )

  server(program.command('tail'), '10m')
    .description('follow the events of a job or a group to its end')
    .argument('<what>', 'job_… or the name of a group')
    .option('--last-event-id <id>', 'go on behind this event')
    .action((what, options) =>
      run(async (terminal) => (await import('./tail.ts')).runTail(terminal, what, options)),
    )

  server(program.command('events'), '10m')
    .description('follow every event, or those that the options choose, until interrupted')
    .option('--type <type>', 'of jobs of this type: chat, response or embedding')
    .option('--group <group>')
    .option('--lane <lane>', 'provider/model')
    .option('--flow <flow>', 'flow_…: of the flow and its jobs')
    .option('--event <names>', 'of these names: job.completed,job.failed')
    .option('--deltas', 'with the chunks of streams')
    .option('--from-first', 'from the first event that is kept, not from now on')
    .option('--last-event-id <id>', 'go on behind this event')
    .action((options) => run(async (terminal) => (await import('./events.ts')).runEvents(terminal, options)))

  server(program.command('lanes'), '5s')
    .description('show how every lane stands (admin keys)')
    .option('-w, --watch [seconds]', 'again and again, every 2 s unless told', toSeconds)
    .action((options) => run(async (terminal) => (await import('./lanes.ts')).runLanes(terminal, options)))

  server(program.command('provider-batches'), '5s')
    .description('show the latest batches at providers (admin keys)')
    .option('--limit <batches>', 'at most so many (default: 100)', toCount)
    .action((options) =>
      run(async (terminal) => (await import('./provider-batches.ts')).runProviderBatches(terminal, options)),
    )

  addFailureCommands(program.command('failures'), run)
  chooseFailed(server(program.command('redrive'), '5s'))
    .description('queue failed jobs again that the options choose')
    .option('--limit <jobs>', 'at most so many, the oldest jobs first (default: 10000)', toCount)
    .option('--dry-run', 'count them, and change nothing')
    .action((options) =>
      run(async (terminal) => (await import('./failures.ts')).runRedrive(terminal, options)),
    )

  server(program.command('cancel'), '5s')
    .description('cancel the open jobs that the options choose')
    .addOption(new Option('--status <status>').choices(['scheduled', 'queued', 'running']))
    .option('--type <type>', 'chat, response or embedding')
    .option('--group <group>')
    .option('--lane <lane>', 'provider/model')
    .option('--provider <provider>', 'of all lanes of it')
    .option('--schedule <id>', 'sch_…: made by this schedule')
    .option('--created-after <time>', 'a time, or how long ago: 2h', toTime)
    .option('--created-before <time>', 'likewise', toTime)
    .option('--all', 'every open job; needed where nothing else is said')
    .option('--limit <jobs>', 'at most so many, the newest jobs first (default: 100000)', toCount)
    .option('--dry-run', 'count them, and change nothing')
    .action((options) =>
      run(async (terminal) => (await import('./cancel.ts')).runCancelMany(terminal, options)),
    )

  for (const change of ['pause', 'resume'] as const) {
    const command = server(program.command(change), '5s')
      .description(
        change === 'pause'
          ? 'let no call leave a lane, or any lane of a provider (admin keys)'
          : 'end pauses of a lane, or of all lanes of a provider (admin keys)',
      )
      .argument('[lane]', 'provider/model')
      .option('--provider <provider>', 'all lanes of it')
    if (change === 'pause')
      command
        .option('--for <duration>', 'how long: 10m (default: until resumed)', toMilliseconds)
        .option('--reason <text>', 'what others are to know')
    command.action((lane, options) =>
      run(async (terminal) => (await import('./pause.ts')).runPause(terminal, change, lane, options)),
    )
  }

  server(program.command('usage'), '5s')
    .description('add up what was used and paid; needs a history')
    .option('--from <day>', '2026-12-01 (default: 30 days ago)')
    .option('--to <day>', 'the last day (default: today)')
    .option('--by <names>', 'some of day,tenant,model,tier,fair_key', 'day')
    .action((options) => run(async (terminal) => (await import('./usage.ts')).runUsage(terminal, options)))

  server(program.command('groups'), '5s')
    .description('show groups of jobs and how far they are')
    .option('--limit <groups>', 'at most so many', toCount, DEFAULT_PAGE)
    .action((options) => run(async (terminal) => (await import('./groups.ts')).runGroups(terminal, options)))

  addScheduleCommands(
    program.command('schedules').description('jobs at times or at intervals: list, make, pause, run them'),
    run,
  )

  addJobCommands(program.command('jobs').description('list, show, cancel and retry jobs'), run)

  addFlowCommands(program.command('flows').description('run, list, show and steer flows'), run)

  addDurableCommands(program.command('durable').description('show, signal and delete durable functions'), run)

  program
    .command('plan')
    .description('tell how long a file takes and what it costs under the present limits, without a call')
    .argument('<file>', 'JSONL: one job or batch line a line')
    .option('-c, --config <path>', 'configuration file (default: SLUICE_CONFIG, then ./sluice.yaml)')
    .addOption(
      new Option('--url <url>', 'count in the backlog and limits of this server')
        .env('SLUICE_URL')
        .argParser((text) => text || undefined),
    )
    .addOption(keyOption())
    .option(
      '--output-tokens <tokens>',
      'length of an answer whose body sets no cap',
      toCount,
      DEFAULT_OUTPUT_TOKENS,
    )
    .option('--json', 'for scripts')
    .action((file, options) =>
      run(async (terminal) => (await import('./plan/command.ts')).runPlan(terminal, file, options)),
    )

  program
    .command('check-config')
    .description('list every fault of a configuration file; 78 when there are any')
    .argument('[path]', 'default: SLUICE_CONFIG, then ./sluice.yaml')
    .option('--config <path>', 'the same, as other commands have it')
    .option('--json', 'for scripts')
    .action((path, options) =>
      run(async (terminal) =>
        (await import('./check-config.ts')).runCheckConfig(terminal, path ?? options.config, options),
      ),
    )

  addTenantCommands(program, run)

  const completion = program.command('completion')
  completion
    .description('print a script that completes commands and options')
    .addArgument(completion.createArgument('<shell>').choices(shells))
    .action((shell: Shell) =>
      run(async (terminal) => {
        await terminal.write(renderCompletion(shell, program))
        return ExitCode.ok
      }),
    )
}

function addTenantCommands(
  program: Command,
  run: (work: (terminal: Terminal) => Promise<ExitCode>) => Promise<void>,
): void {
  const load = () => import('./administer.ts')
  const settings = 'JSON as the API takes it: {"weight":3,"limits":{"max_queued":1000},"models":["openai/*"]}'
  const tenants = program.command('tenants').description('list, make, change and delete tenants (admin keys)')
  server(tenants.command('list'), '5s')
    .description('list all tenants')
    .action((options) => run(async (terminal) => (await load()).runListTenants(terminal, options)))
  server(tenants.command('create'), '5s')
    .description('make a tenant')
    .argument('<name>')
    .option('--settings <json>', settings)
    .action((name, options) =>
      run(async (terminal) => (await load()).runCreateTenant(terminal, name, options)),
    )
  server(tenants.command('change'), '5s')
    .description('change a tenant; null is the default again')
    .argument('<name>')
    .requiredOption('--settings <json>', settings)
    .action((name, options) =>
      run(async (terminal) => (await load()).runChangeTenant(terminal, name, options)),
    )
  server(tenants.command('delete'), '5s')
    .description('delete a tenant that has nothing open, and its keys')
    .argument('<name>')
    .action((name, options) =>
      run(async (terminal) => (await load()).runDeleteTenant(terminal, name, options)),
    )

  server(tenants.command('pause'), '5s')
    .description('let no call leave for the jobs of a tenant')
    .argument('<name>')
    .option('--for <duration>', 'how long: 10m (default: until resumed)', toMilliseconds)
    .option('--reason <text>', 'what others are to know')
    .action((name, options) =>
      run(async (terminal) => (await load()).runPauseTenant(terminal, name, options)),
    )
  server(tenants.command('resume'), '5s')
    .description('let the jobs of a paused tenant go on')
    .argument('<name>')
    .action((name, options) =>
      run(async (terminal) => (await load()).runResumeTenant(terminal, name, options)),
    )

  const keys = program.command('keys').description('make, list and revoke keys of tenants')
  keys
    .command('new')
    .description('make a key of 256 random bits, and what the configuration needs to know of it')
    .option('--json', 'for scripts')
    .action((options) => run(async (terminal) => (await import('./keys.ts')).runNewKey(terminal, options)))
  server(keys.command('list'), '5s')
    .description('list the keys of a tenant that the API made (admin keys)')
    .argument('<tenant>')
    .action((tenant, options) =>
      run(async (terminal) => (await load()).runListKeys(terminal, tenant, options)),
    )
  server(keys.command('create'), '5s')
    .description('make a key of a tenant at the server, and print its secret (admin keys)')
    .argument('<tenant>')
    .option('--name <name>', 'what it is for')
    .option('--scopes <scope...>', 'jobs, read, metrics, admin (default: jobs read)')
    .option('--models <pattern...>', 'what it may call: openai/* (default: what the tenant may)')
    .option('--expires-at <time>', 'RFC 3339 (default: never)')
    .action((tenant, options) =>
      run(async (terminal) => (await load()).runCreateKey(terminal, tenant, options)),
    )
  server(keys.command('revoke'), '5s')
    .description('revoke a key of a tenant (admin keys)')
    .argument('<tenant>')
    .argument('<id>')
    .action((tenant, id, options) =>
      run(async (terminal) => (await load()).runRevokeKey(terminal, tenant, id, options)),
    )

  server(program.command('audit'), '5s')
    .description('show who changed tenants, keys and lanes, newest first (admin keys)')
    .option('--limit <lines>', 'at most so many', toCount, DEFAULT_PAGE)
    .action((options) => run(async (terminal) => (await load()).runAudit(terminal, options)))
}

function addFailureCommands(
  failures: Command,
  run: (work: (terminal: Terminal) => Promise<ExitCode>) => Promise<void>,
): void {
  // Else it would take the options of the command below it for its own.
  server(failures.enablePositionalOptions(), '5s')
    .description('show failed jobs by lane and error code')
    .action((options) =>
      run(async (terminal) => (await import('./failures.ts')).runFailures(terminal, options)),
    )

  chooseFailed(server(failures.command('export'), '5s'))
    .description('write failed jobs with their requests to a file that submit takes')
    .argument('<out>', 'a file that is not there yet, or - for stdout')
    .option('--limit <jobs>', 'at most so many, the oldest jobs first (default: 100000)', toCount)
    .action((out, options) =>
      run(async (terminal) => (await import('./failures.ts')).runExport(terminal, out, options)),
    )
}

/** The options by which commands choose among failed jobs. */
function chooseFailed(command: Command): Command {
  return command
    .option('--group <group>')
    .option('--lane <lane>', 'provider/model')
    .option('--error-code <code>')
    .option('--type <type>', 'chat, response or embedding')
    .option('--failed-after <time>', 'a time, or how long ago: 2h', toTime)
    .option('--failed-before <time>', 'likewise', toTime)
}

function addJobCommands(
  jobs: Command,
  run: (work: (terminal: Terminal) => Promise<ExitCode>) => Promise<void>,
): void {
  server(jobs.command('list'), '5s')
    .description('list jobs, newest first')
    .option('--status <status>', 'scheduled, queued, running, completed, failed or cancelled')
    .option('--type <type>', 'chat, response or embedding')
    .option('--group <group>')
    .option('--lane <lane>', 'provider/model')
    .option('--model <model>', 'as the jobs named it')
    .option('--error-code <code>')
    .option('--metadata <pair...>', 'name=value')
    .option('--created-after <time>', 'a time, or how long ago: 2h', toTime)
    .option('--created-before <time>', 'likewise', toTime)
    .option('--min-cost-usd <usd>')
    .option('--limit <jobs>', 'at most so many', toCount, DEFAULT_PAGE)
    .option('--results', 'with their results; with --json')
    .action((options) => run(async (terminal) => (await import('./jobs.ts')).runList(terminal, options)))

  server(jobs.command('show'), '5s')
    .description('show a job with its result')
    .argument('<id>')
    .option('--attempts', 'with every call made for it')
    .action((id, options) =>
      run(async (terminal) => (await import('./jobs.ts')).runShow(terminal, id, options)),
    )

  server(jobs.command('cancel'), '5s')
    .description('cancel jobs')
    .argument('<id...>')
    .action((ids, options) =>
      run(async (terminal) => (await import('./jobs.ts')).runCancel(terminal, ids, options)),
    )

  server(jobs.command('retry'), '5s')
    .description('queue failed or cancelled jobs again; without ids, all failed ones that the options choose')
    .argument('[id...]')
    .option('--group <group>')
    .option('--lane <lane>', 'provider/model')
    .option('--error-code <code>')
    .option('--limit <jobs>', 'at most so many', toCount)
    .action((ids, options) =>
      run(async (terminal) => (await import('./jobs.ts')).runRetry(terminal, ids, options)),
    )
}

function addFlowCommands(
  flows: Command,
  run: (work: (terminal: Terminal) => Promise<ExitCode>) => Promise<void>,
): void {
  server(flows.command('run'), '10m')
    .description('create a flow, show its steps as they end, and write its output')
    .argument('<file>', 'YAML or JSON: what POST /v1/flows takes')
    .option('--input <json>', 'in the place of the input of the file')
    .option('--detach', 'write its id, and do not wait')
    .action((file, options) =>
      run(async (terminal) => (await import('./flows.ts')).runFlow(terminal, file, options)),
    )

  server(flows.command('list'), '5s')
    .description('list flows, newest first')
    .addOption(
      new Option('--status <status>').choices(['running', 'waiting', 'completed', 'failed', 'cancelled']),
    )
    .option('--name <name>')
    .option('--limit <flows>', 'at most so many', toCount, DEFAULT_PAGE)
    .action((options) =>
      run(async (terminal) => (await import('./flows.ts')).runListFlows(terminal, options)),
    )

  server(flows.command('show'), '5s')
    .description('show how the steps of a flow stand')
    .argument('<id>')
    .action((id, options) =>
      run(async (terminal) => (await import('./flows.ts')).runShowFlow(terminal, id, options)),
    )

  for (const [change, description] of [
    ['cancel', 'end a flow at once, with its jobs'],
    ['retry', 'let a failed or cancelled flow go on from what failed'],
  ] as const) {
    server(flows.command(change), '5s')
      .description(description)
      .argument('<id>')
      .action((id, options) =>
        run(async (terminal) => (await import('./flows.ts')).runChangeFlow(terminal, id, change, options)),
      )
  }

  server(flows.command('signal'), '5s')
    .description('signal a step that waits, or will')
    .argument('<id>')
    .argument('<step>')
    .argument('[value]', 'JSON', 'true')
    .action((id, step, value, options) =>
      run(async (terminal) => (await import('./flows.ts')).runSignalFlow(terminal, id, step, value, options)),
    )
}

function addDurableCommands(
  durable: Command,
  run: (work: (terminal: Terminal) => Promise<ExitCode>) => Promise<void>,
): void {
  server(durable.command('show'), '5s')
    .description('show the steps of a durable function')
    .argument('<id>')
    .action((id, options) =>
      run(async (terminal) => (await import('./durable.ts')).runShowDurable(terminal, id, options)),
    )

  server(durable.command('signal'), '5s')
    .description('send a value to a step that waits for it, or will')
    .argument('<id>')
    .argument('<name>', 'of the step')
    .argument('[value]', 'JSON', 'true')
    .action((id, name, value, options) =>
      run(async (terminal) =>
        (await import('./durable.ts')).runSignalDurable(terminal, id, name, value, options),
      ),
    )

  server(durable.command('delete'), '5s')
    .description('forget a durable function with its jobs')
    .argument('<id>')
    .action((id, options) =>
      run(async (terminal) => (await import('./durable.ts')).runDeleteDurable(terminal, id, options)),
    )
}

function addScheduleCommands(
  schedules: Command,
  run: (work: (terminal: Terminal) => Promise<ExitCode>) => Promise<void>,
): void {
  const load = () => import('./schedules.ts')
  server(schedules.command('list'), '5s')
    .description('list schedules, newest first')
    .option('--limit <schedules>', 'at most so many', toCount, DEFAULT_PAGE)
    .action((options) => run(async (terminal) => (await load()).runList(terminal, options)))

  server(schedules.command('show'), '5s')
    .description('show a schedule with its next slots')
    .argument('<id>')
    .action((id, options) => run(async (terminal) => (await load()).runShow(terminal, id, options)))

  server(schedules.command('create'), '5s')
    .description('make a schedule of a file of JSON, as POST /v1/schedules takes it')
    .argument('<file>', 'or - for stdin')
    .action((file, options) => run(async (terminal) => (await load()).runCreate(terminal, file, options)))

  for (const [name, isPaused] of [
    ['pause', true],
    ['resume', false],
  ] as const) {
    server(schedules.command(name), '5s')
      .description(isPaused ? 'run no more slots for now' : 'go on with the next slot')
      .argument('<id...>')
      .action((ids, options) =>
        run(async (terminal) => (await load()).runPause(terminal, ids, isPaused, options)),
      )
  }

  server(schedules.command('run'), '5s')
    .description('make the job now, beside the slots')
    .argument('<id...>')
    .action((ids, options) => run(async (terminal) => (await load()).runNow(terminal, ids, options)))

  server(schedules.command('runs'), '5s')
    .description('list what became of the slots, newest first')
    .argument('<id>')
    .option('--limit <runs>', 'at most so many', toCount, DEFAULT_PAGE)
    .action((id, options) => run(async (terminal) => (await load()).runRuns(terminal, id, options)))

  server(schedules.command('delete'), '5s')
    .description('forget schedules; their jobs stay')
    .argument('<id...>')
    .action((ids, options) => run(async (terminal) => (await load()).runDelete(terminal, ids, options)))
}

/** The options of every command that talks to a server. */
function server(command: Command, patience: string): Command {
  return command
    .addOption(
      new Option('--url <url>', 'the server')
        .env('SLUICE_URL')
        .argParser((text) => text || DEFAULT_URL)
        .default(DEFAULT_URL),
    )
    .addOption(keyOption())
    .option('--tenant <name>', 'act as this tenant, where an admin key sees all')
    .addOption(
      new Option('--patience <duration>', 'how long the server may be away')
        .argParser(toMilliseconds)
        .default(parseDuration(patience), patience),
    )
    .option('--json', 'for scripts')
}

function keyOption(): Option {
  return new Option('--key <key>', "the tenant's key; others can see an argument").env('SLUICE_KEY')
}

function toCount(text: string): number {
  const count = Number(text)
  if (!Number.isSafeInteger(count) || count < 1)
    throw new InvalidArgumentError('Expected a whole number from 1.')
  return count
}

function toSeconds(text: string): number {
  const seconds = Number(text)
  if (!(seconds >= 0.1 && seconds <= 86_400)) throw new InvalidArgumentError('Expected seconds, from 0.1.')
  return seconds
}

function toTime(text: string): number {
  const ago = parseDuration(text)
  const time = ago === null ? Date.parse(text) : Date.now() - ago
  if (Number.isNaN(time))
    throw new InvalidArgumentError('Expected a time such as 2026-11-24T08:00:00Z, or 2h for two hours ago.')
  return time
}

function toMilliseconds(text: string): number {
  const ms = parseDuration(text)
  if (ms === null) throw new InvalidArgumentError('Expected a duration such as 30s or 10m.')
  return ms
}
