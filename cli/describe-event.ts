import { formatUsd } from './format.ts'
import type { Job } from './job.ts'
import type { Terminal } from './terminal.ts'

/** The `data` of an event of a job, or of a flow and its steps. */
export type EventData = {
  job_id: string
  flow_id?: string
  step?: string
  seq: number
  at: string
  reason?: string
  chunk?: object
  job?: Job
}

const styles: Record<string, 'green' | 'red' | 'yellow'> = {
  completed: 'green',
  failed: 'red',
  cancelled: 'yellow',
  retrying: 'yellow',
}

/** An event as a line for people. `tenant`: set if the command sees several tenants. */
export function describeEvent(
  terminal: Pick<Terminal, 'style'>,
  event: string,
  data: EventData,
  tenant: string | null = null,
): string {
  const style = styles[event.slice(event.indexOf('.') + 1)]
  const name = event.padEnd(13)
  const shown = style === undefined ? name : terminal.style(style, name)
  const whose = tenant === null ? '' : `${tenant}  `
  return `${data.at}  ${whose}${data.flow_id ?? data.job_id}  ${shown}  ${describeData(data)}`
    .trimEnd()
    .concat('\n')
}

function describeData({ job, reason, chunk, step }: EventData): string {
  if (job?.error) return `${job.error.code}: ${job.error.message}`
  if (job) return job.cost_usd === null ? '' : formatUsd(job.cost_usd)
  return reason ?? step ?? (chunk === undefined ? '' : JSON.stringify(chunk))
}
