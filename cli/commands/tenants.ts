import type { Command } from 'commander'
import { DEFAULT_PAGE, type Run, server, toCount, toMilliseconds } from '../options.ts'

/** Commands for administrators: tenants, keys, audit. */
export function addTenantCommands(program: Command, run: Run): void {
  const load = () => import('../administer.ts')
  const settings = 'JSON, as for the API: {"weight":3,"limits":{"max_queued":1000},"models":["openai/*"]}'
  const tenants = program
    .command('tenants')
    .description('list, create, change and delete tenants (admin keys)')
  server(tenants.command('list'), '5s')
    .description('list all tenants')
    .action((options) => run(async (terminal) => (await load()).runListTenants(terminal, options)))
  server(tenants.command('create'), '5s')
    .description('create a tenant')
    .argument('<name>')
    .option('--settings <json>', settings)
    .action((name, options) =>
      run(async (terminal) => (await load()).runCreateTenant(terminal, name, options)),
    )
  server(tenants.command('change'), '5s')
    .description('change a tenant; null resets to the default')
    .argument('<name>')
    .requiredOption('--settings <json>', settings)
    .action((name, options) =>
      run(async (terminal) => (await load()).runChangeTenant(terminal, name, options)),
    )
  server(tenants.command('delete'), '5s')
    .description('delete a tenant without open work, and its keys')
    .argument('<name>')
    .action((name, options) =>
      run(async (terminal) => (await load()).runDeleteTenant(terminal, name, options)),
    )

  server(tenants.command('pause'), '5s')
    .description('pause the calls of a tenant')
    .argument('<name>')
    .option('--for <duration>', 'how long: 10m (default: until resumed)', toMilliseconds)
    .option('--reason <text>', 'a reason that others can read')
    .action((name, options) =>
      run(async (terminal) => (await load()).runPauseTenant(terminal, name, options)),
    )
  server(tenants.command('resume'), '5s')
    .description('resume the calls of a tenant')
    .argument('<name>')
    .action((name, options) =>
      run(async (terminal) => (await load()).runResumeTenant(terminal, name, options)),
    )

  const keys = program.command('keys').description('create, list and revoke keys of tenants')
  keys
    .command('new')
    .description('create a random key, and its digest for the configuration')
    .option('--json', 'print JSON for scripts')
    .action((options) => run(async (terminal) => (await import('../keys.ts')).runNewKey(terminal, options)))
  server(keys.command('list'), '5s')
    .description('list the keys of a tenant that were created with the API (admin keys)')
    .argument('<tenant>')
    .action((tenant, options) =>
      run(async (terminal) => (await load()).runListKeys(terminal, tenant, options)),
    )
  server(keys.command('create'), '5s')
    .description('create a key of a tenant, and print its secret (admin keys)')
    .argument('<tenant>')
    .option('--name <name>', 'a name for the key')
    .option('--scopes <scope...>', 'jobs, read, metrics, admin (default: jobs read)')
    .option('--models <pattern...>', 'models it may call: openai/* (default: those of the tenant)')
    .option('--budgets <json>', 'what its jobs may cost: [{"usd":5,"per":"day"}] (default: no limit)')
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
    .option('--limit <lines>', 'the most to show', toCount, DEFAULT_PAGE)
    .action((options) => run(async (terminal) => (await load()).runAudit(terminal, options)))
}
