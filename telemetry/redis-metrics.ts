import { Counter, type Registry } from '@prometheus-io/client'
import { type CommandMeter, createCommandMeter } from '../lib/command-meter.ts'

/** Metrics of the process's use of Redis. Connections count by themselves (lib/command-meter.ts); a scrape reads their counts. */
export function createRedisMetrics(registry: Registry) {
  const meters = new Map<string, CommandMeter>()
  const define = (name: string, help: string, read: (meter: CommandMeter) => number) =>
    new Counter({
      name,
      help,
      labelNames: ['connection'] as const,
      registers: [registry],
      collect() {
        this.reset()
        for (const [connection, meter] of meters) this.inc({ connection }, read(meter))
      },
    })
  define('sluice_redis_commands_total', 'Commands sent to Redis, including scripts.', (one) => one.commands)
  define(
    'sluice_redis_round_trips_total',
    'Writes to Redis, each with the commands of one turn of the event loop; with a cluster, the commands.',
    (one) => one.writes,
  )
  define(
    'sluice_redis_command_seconds_total',
    'Time from commands to their answers, over all commands.',
    (one) => one.waitedMs / 1000,
  )
  define(
    'sluice_redis_command_failures_total',
    'Commands that ended with an error, including timeouts.',
    (one) => one.failures,
  )
  return {
    /** The counter for the connections of a role. */
    meter(connection: string): CommandMeter {
      const meter = meters.get(connection) ?? createCommandMeter()
      meters.set(connection, meter)
      return meter
    },
  }
}
