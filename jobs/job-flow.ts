import type { JobFlow } from './new-job.ts'

/** The form in the record, which `tell_flow` of lua/common.lua reads. */
export function encodeJobFlow({ id, step, element, attempt, name }: JobFlow): string {
  return `${id} ${step} ${element} ${attempt} - ${name}`
}

/** What a job shows about its flow. */
export function showJobFlow(stored: string): { id: string; step: string; index: number } {
  const [id = '', , element, , , name = ''] = stored.split(' ')
  return { id, step: name, index: Number(element) }
}
