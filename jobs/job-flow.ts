import type { JobFlow } from './jobs.ts'

/** As a record keeps it; `tell_flow` of lua/common.lua reads it. */
export function encodeJobFlow({ id, step, element, attempt, name }: JobFlow): string {
  return `${id} ${step} ${element} ${attempt} - ${name}`
}

/** What a job shows of its flow. */
export function showJobFlow(stored: string): { id: string; step: string; index: number } {
  const [id = '', , element, , , name = ''] = stored.split(' ')
  return { id, step: name, index: Number(element) }
}
