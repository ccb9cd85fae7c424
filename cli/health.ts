import { ExitCode } from './exit.ts'
import { connect, type ServerOptions, type Terminal } from './terminal.ts'

export type HealthOptions = ServerOptions & { json?: boolean; patience: number }

/** The answer of `GET /readyz`. `history`: absent if there is none, or its state is not known yet. */
type Readiness = {
  status: 'ok'
  version: string
  history?: 'available' | 'unavailable'
  /** Absent if everything works. */
  history_fails?: 'everything' | 'writes'
}

/**
 * `health`: whether the server accepts jobs, and whether its history answers. A server that is not ready is an error, as for all commands.
 */
export async function runHealth(terminal: Terminal, options: HealthOptions): Promise<ExitCode> {
  const client = connect(terminal, options, { patienceMs: options.patience })
  const readiness = await client.json<Readiness>('GET', '/readyz')
  if (options.json) {
    await terminal.write(`${JSON.stringify(readiness)}\n`)
    return toExit(readiness)
  }
  const { version, history, history_fails: fails } = readiness
  await terminal.write(`ready, version ${version}\n`)
  if (history === 'available') await terminal.write('the history answers\n')
  if (history === 'unavailable') {
    await terminal.write(
      fails === 'writes'
        ? 'the history accepts no finished jobs: they stay in Redis until it does\n'
        : 'the history does not answer: finished jobs stay in Redis until it is back\n',
    )
  }
  return toExit(readiness)
}

function toExit({ history }: Readiness): ExitCode {
  return history === 'unavailable' ? ExitCode.failed : ExitCode.ok
}
