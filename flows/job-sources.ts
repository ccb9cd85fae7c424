import { isJsonObject, type JsonObject } from '../lib/json.ts'
import { findSource, keepSource } from '../lib/json-source.ts'
import { listMembers } from '../lib/json-text.ts'

/** Numbers that a double may not hold exactly. Only with these does the text of a body say more than its parsed value. */
const LONG_NUMBER = /\d{16}|\d[eE][+-]?\d/

/**
 * Attaches to the bodies of a flow's jobs their original text, if it may say more than the parsed values. One walk over the text serves
 * all jobs.
 */
export function keepBodySources(flow: JsonObject): void {
  const text = findSource(flow)
  if (text === undefined || !LONG_NUMBER.test(text) || !isJsonObject(flow.steps)) return
  const steps = memberOf(text, 0, 'steps')
  if (steps === null) return
  for (const member of listMembers(text, steps)) {
    const step = flow.steps[member.name]
    if (!isJsonObject(step) || !isJsonObject(step.job) || !isJsonObject(step.job.body)) continue
    const job = memberOf(text, member.valueStart, 'job')
    const body = job === null ? null : findMember(text, job, 'body')
    if (body) keepSource(step.job.body, text.slice(body.valueStart, body.valueEnd))
  }
}

function findMember(text: string, start: number, name: string) {
  return listMembers(text, start).findLast((member) => member.name === name) ?? null
}

function memberOf(text: string, start: number, name: string): number | null {
  return findMember(text, start, name)?.valueStart ?? null
}
