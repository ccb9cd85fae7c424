import { createLongWork, longWorkTurn } from '../lib/breathe.ts'
import { isJsonObject, type JsonObject } from '../lib/json.ts'
import { keepSource } from '../lib/json-source.ts'
import { parseJsonInSlices } from '../lib/parse-json-in-slices.ts'
import type { Job } from './job.ts'
import { decodePayload, decodePayloadText } from './payload.ts'

/**
 * The result of a job. It is parsed when code reads its members; most code passes it on as text. Parsing is one step,
 * so code that may read a large result calls `parseLargeResult` first.
 */
type KeptResult = {
  /** The form that `encodeResult` writes. */
  payload: Buffer
  /** Gives the result the form that the client asked for; null: the stored form. */
  render: ((result: JsonObject) => JsonObject) | null
  parsed: JsonObject | null
}

/** Texts of this length or more, in characters, are parsed in pieces. */
const LARGE_TEXT = 1024 * 1024

const RESULT = Symbol('result')

function keptOf(value: unknown): KeptResult | undefined {
  return (value as { [RESULT]?: KeptResult } | null | undefined)?.[RESULT]
}

/** Gives a job its result, unparsed. */
export function keepResult(job: Job, { payload, render }: Omit<KeptResult, 'parsed'>): Job {
  const kept: KeptResult = { payload, render, parsed: null }
  return Object.defineProperties(job, {
    [RESULT]: { value: kept },
    result: {
      enumerable: true,
      get() {
        kept.parsed ??= render === null ? decodePayload(payload) : render(decodePayload(payload))
        return kept.parsed
      },
    },
  })
}

/**
 * The text of a job's result, without parsing it; null if the text has to be made from the result, or there is no
 * result.
 */
export function readResultText(job: Job): string | null {
  const kept = keptOf(job)
  return kept?.render === null ? decodePayloadText(kept.payload) : null
}

/**
 * A job for code that writes it and does not read its result. The result is an empty object with the text as its
 * source. Other values are returned unchanged.
 */
export function withUnparsedResult<Value>(value: Value): Value {
  const kept = keptOf(value)
  if (kept === undefined || kept.parsed !== null) return value
  const text = readResultText(value as Job)
  if (text === null) return value
  const copy: Record<string, unknown> = {}
  for (const name of Object.keys(value as Job) as (keyof Job)[]) {
    copy[name] = name === 'result' ? keepSource({}, text) : (value as Job)[name]
  }
  return copy as Value
}

/** Parses a large result of a job in pieces, so that reading it later takes no time. */
export async function parseLargeResult(job: Job): Promise<void> {
  const kept = keptOf(job)
  if (kept === undefined || kept.parsed !== null) return
  const text = decodePayloadText(kept.payload)
  if (text === null || text.length < LARGE_TEXT) return
  await longWorkTurn()
  const value = await parseJsonInSlices(text, { breathe: createLongWork() })
  if (!isJsonObject(value)) return
  const result = keepSource(value, text)
  kept.parsed ??= kept.render === null ? result : kept.render(result)
}
