import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { keepSourcesAt } from '../lib/json-source.ts'
import { type BatchEndpoint, batchEndpoints } from './batch.ts'

/** What is wrong with a line, with OpenAI's codes. */
export type LineFault = { code: string; message: string; param: string | null }

export type CheckedLine = { customId: string; body: JsonObject; model: string }

/** Longest `custom_id`, in characters. It is also part of the job's metadata. */
const maxCustomId = 512

/**
 * Checks the envelope of a line: `custom_id`, `method`, `url`, `body` and the model in it. Returns the first fault
 * in that order. It does not check whether the endpoint accepts the body.
 */
export function checkLine(value: JsonValue, endpoint: BatchEndpoint): CheckedLine | LineFault {
  if (!isJsonObject(value)) return fault('invalid_json_line', null, 'This line is not a JSON object.')
  const { custom_id: customId, method, url, body } = value
  if (customId === undefined || customId === null) return missing('custom_id')
  if (typeof customId !== 'string' || customId.length === 0 || customId.length > maxCustomId) {
    return fault(
      'invalid_custom_id',
      'custom_id',
      `custom_id has to be a string of 1 to ${maxCustomId} characters.`,
    )
  }
  if (method === undefined || method === null) return missing('method')
  if (method !== 'POST')
    return fault('invalid_method', 'method', 'The method of every request has to be POST.')
  if (url === undefined || url === null) return missing('url')
  if (url !== endpoint) {
    return batchEndpoints.some((known) => known === url)
      ? fault('mismatched_url', 'url', `The url has to be the endpoint of the batch, ${endpoint}.`)
      : fault('invalid_url', 'url', `The url has to be one of ${batchEndpoints.join(', ')}.`)
  }
  if (body === undefined || body === null) return missing('body')
  if (!isJsonObject(body)) return fault('invalid_body', 'body', 'The body has to be a JSON object.')
  const { model } = body
  if (model === undefined || model === null) return missing('body.model')
  if (typeof model !== 'string') return fault('invalid_model', 'body.model', 'The model has to be a string.')
  keepSourcesAt(value, ['body'])
  return { customId, body, model }
}

export function isFault(checked: object): checked is LineFault {
  return 'code' in checked
}

function missing(param: string): LineFault {
  return fault('missing_required_parameter', param, `Missing required parameter: ${param}.`)
}

function fault(code: string, param: string | null, message: string): LineFault {
  return { code, message, param }
}
