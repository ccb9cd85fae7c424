import { isJsonObject, type JsonObject, type JsonValue } from '../../lib/json.ts'
import { ApiError } from '../errors.ts'

/** Members that forms send as text, and JSON bodies as another type. */
const NUMBERS = new Set(['n', 'temperature', 'partial_images', 'output_compression', 'speed', 'seed'])
const FLAGS = new Set(['stream'])

/** Builds the body that a form's fields stand for. */
export type FormBody = {
  /** Throws `payload_too_large` if the fields are larger than a body may be, and `invalid_request`. */
  addField(name: string, text: string): void
  /** Throws `invalid_request`. */
  addFile(name: string, id: string): void
  toBody(): JsonObject
}

/**
 * `name[]` and `name[0]` are elements of a list; `name[member]` is a member of an object.
 *
 * @param members members that hold files: a second value makes a list
 * @param bodyBytes most bytes of all names and values together
 */
export function createFormBody(members: readonly string[], bodyBytes: number): FormBody {
  const values = new Map<string, JsonValue>()
  const lists = new Map<string, JsonValue[]>()
  let bytes = 0

  function append(name: string, value: JsonValue): void {
    const known = values.get(name)
    const list = lists.get(name)
    if (list !== undefined && list === known) {
      list.push(value)
      return
    }
    const begun = known === undefined ? [value] : [known, value]
    lists.set(name, begun)
    values.set(name, begun)
  }

  function add(name: string, value: JsonValue): void {
    const [, list] = /^(.+)\[\d*\]$/.exec(name) ?? []
    if (list !== undefined) {
      append(list, value)
      return
    }
    const [, object, member] = /^([^[]+)\[([^\]]+)\]$/.exec(name) ?? []
    if (object !== undefined && member !== undefined) {
      const known = values.get(object) ?? {}
      if (!isJsonObject(known)) {
        const message = `${name}: ${object} has a value of its own, and no members`
        throw new ApiError('invalid_request', message, { param: object })
      }
      values.set(object, { ...known, [member]: value })
    } else if (members.includes(name) && values.has(name)) append(name, value)
    else values.set(name, value)
  }

  return {
    addField(name, text) {
      bytes += Buffer.byteLength(name) + Buffer.byteLength(text)
      if (bytes > bodyBytes) {
        throw new ApiError('payload_too_large', `the fields of the form are larger than ${bodyBytes} bytes`)
      }
      add(name, readField(name, text))
    },
    addFile: add,
    toBody: () => Object.fromEntries(values),
  }
}

/** Converts a field's text to the value of a JSON body. */
function readField(name: string, value: string): JsonValue {
  const member = name.split('[')[0]!
  if (FLAGS.has(member) && (value === 'true' || value === 'false')) return value === 'true'
  const isNumber = NUMBERS.has(member) || name.startsWith('chunking_strategy[')
  return isNumber && /^-?\d+(?:\.\d+)?$/.test(value) ? Number(value) : value
}
