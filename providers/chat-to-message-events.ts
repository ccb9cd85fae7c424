import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { listPieces, openMessage, type SaidPiece, toMessageUsage, toStop } from './chat-to-message.ts'
import { firstChoice, textOf } from './chat-to-response.ts'
import { readStreamedInput } from './tool-arguments.ts'
import { createNesting, follow, type Nesting } from './tool-calls.ts'

/** A content block as it grows. `place`: of a call, its place among the calls. */
type Block = {
  kind: SaidPiece['kind']
  place: number | null
  index: number
  opening: JsonObject
  text: string
}

/** What came of a call, pieces that wait included. `chunk`: the number of the chunk that it began in. */
type Call = { chunk: number; nesting: Nesting; isBlank: boolean }

/**
 * Converts the chunks of a streamed chat to the events of a streamed message (Anthropic, "Streaming messages"). One block is open at a
 * time, as in Anthropic's streams. What comes between the pieces of a call waits until the call is complete.
 *
 * @param asked the request of the Messages API
 */
export function createMessageEvents(asked: JsonObject, emit: (event: JsonObject) => void) {
  const blocks: Block[] = []
  const waiting: SaidPiece[] = []
  const calls = new Map<number, Call>()
  let chunks = 0
  /** The last chunk that began a call whose input is complete by now. */
  let lastComplete = -1
  let idStem: string | null = null
  let open: Block | null = null

  function begin(of: JsonObject): void {
    if (idStem !== null) return
    const message = openMessage(of)
    idStem = textOf(message.id)
      .replace(/^msg_/, '')
      .replace(/[^A-Za-z0-9_-]/g, '')
    emit({ type: 'message_start', message })
  }

  function close(): void {
    if (open !== null) emit({ type: 'content_block_stop', index: open.index })
    open = null
  }

  function openingOf(piece: SaidPiece): JsonObject {
    if (piece.kind === 'text') return { type: 'text', text: '' }
    // Only Anthropic signs thinking.
    if (piece.kind !== 'call') return { type: 'thinking', thinking: '', signature: '' }
    // Anthropic's clients name a call by its id, which some servers leave out.
    const id = piece.id || `toolu_${idStem}_${blocks.length}`
    return { type: 'tool_use', id, name: piece.name, input: {} }
  }

  function isOfOpen(piece: SaidPiece): boolean {
    return open?.kind === piece.kind && (piece.kind !== 'call' || piece.place === open.place)
  }

  function count(piece: SaidPiece): void {
    if (piece.kind !== 'call') return
    const call = calls.get(piece.place) ?? { chunk: chunks, nesting: createNesting(), isBlank: true }
    calls.set(piece.place, call)
    follow(call.nesting, piece.text)
    if (call.isBlank) call.isBlank = piece.text.trim() === ''
    if (call.nesting.isWhole) lastComplete = Math.max(lastComplete, call.chunk)
  }

  /**
   * Whether the open block is a call that goes on: its input is not complete yet. One without any input is complete where a call that
   * began in a later chunk is: some servers open several calls at once, and send their inputs in any order.
   */
  function isIncomplete(): boolean {
    const call = open === null || open.place === null ? undefined : calls.get(open.place)
    if (call === undefined) return false
    return call.isBlank ? lastComplete <= call.chunk : !call.nesting.isWhole
  }

  function take(piece: SaidPiece): void {
    if (!isOfOpen(piece) && (waiting.length > 0 || isIncomplete())) waiting.push(piece)
    else put(piece)
  }

  function put(piece: SaidPiece): void {
    if (!isOfOpen(piece)) {
      // Blanks behind a call that is complete.
      if (piece.kind === 'call' && blocks.some(({ place }) => place === piece.place)) return
      close()
      open = {
        kind: piece.kind,
        place: piece.kind === 'call' ? piece.place : null,
        index: blocks.length,
        opening: openingOf(piece),
        text: '',
      }
      blocks.push(open)
      emit({ type: 'content_block_start', index: open.index, content_block: open.opening })
    }
    if (piece.text === '' || open === null) return
    open.text += piece.text
    emit({ type: 'content_block_delta', index: open.index, delta: deltaOf(piece) })
  }

  /** Hands on what waited, once the open call is complete. The pieces of one call belong together, even if others came between them. */
  function drain(): void {
    while (waiting.length > 0 && !isIncomplete()) {
      const [first, ...rest] = waiting.splice(0) as [SaidPiece, ...SaidPiece[]]
      put(first)
      const others: SaidPiece[] = []
      for (const piece of rest) {
        if (first.kind === 'call' && isOfOpen(piece)) put(piece)
        else others.push(piece)
      }
      for (const piece of others) take(piece)
    }
  }

  /** Hands on all that waited: no call goes on. */
  function drainAtEnd(): void {
    const byCall = new Map<SaidPiece | number, SaidPiece[]>()
    for (const piece of waiting.splice(0)) {
      const key = piece.kind === 'call' ? piece.place : piece
      const known = byCall.get(key)
      if (known === undefined) byCall.set(key, [piece])
      else known.push(piece)
    }
    for (const pieces of byCall.values()) for (const piece of pieces) put(piece)
  }

  return {
    /** Takes one chunk of the chat. */
    add(chunk: JsonValue): void {
      if (!isJsonObject(chunk)) return
      begin(chunk)
      chunks += 1
      const { delta } = firstChoice(chunk)
      if (!isJsonObject(delta)) return
      for (const piece of listPieces(delta)) {
        count(piece)
        take(piece)
        drain()
      }
    },
    /** Ends the stream with the completion that its chunks add up to. Returns the message. */
    end(completion: JsonObject): JsonObject {
      begin(completion)
      drainAtEnd()
      close()
      const hasCalls = blocks.some(({ kind }) => kind === 'call')
      const stop = toStop(firstChoice(completion), asked, hasCalls)
      const usage = toMessageUsage(completion.usage)
      emit({ type: 'message_delta', delta: stop, usage })
      emit({ type: 'message_stop' })
      return { ...openMessage(completion), content: blocks.map(build), ...stop, usage }
    },
  }
}

/**
 * Converts a chat completion to a message. The id is derived from the completion's: the same completion gives the same message.
 *
 * @param asked the request of the Messages API
 */
export function toMessage(completion: JsonObject, asked: JsonObject): JsonObject {
  const events = createMessageEvents(asked, () => {})
  const { message } = firstChoice(completion)
  const { id = '', model = '' } = completion
  const delta = isJsonObject(message) ? numberCalls(message) : {}
  events.add({ id, model, choices: [{ index: 0, delta }] })
  return events.end(completion)
}

/** Some servers give the calls of a whole answer an `index`, the same one to all of them. Here their place in the list counts. */
function numberCalls(message: JsonObject): JsonObject {
  const { tool_calls: list } = message
  if (!Array.isArray(list)) return message
  return {
    ...message,
    tool_calls: list.map((call, index) => (isJsonObject(call) ? { ...call, index } : call)),
  }
}

function deltaOf({ kind, text }: SaidPiece): JsonObject {
  if (kind === 'text') return { type: 'text_delta', text }
  return kind === 'thinking'
    ? { type: 'thinking_delta', thinking: text }
    : { type: 'input_json_delta', partial_json: text }
}

function build({ kind, opening, text }: Block): JsonObject {
  if (kind === 'text') return { ...opening, text }
  if (kind === 'thinking') return { ...opening, thinking: text }
  if (text.trim() === '') return opening
  const input = readStreamedInput(text)
  // A model may write JSON that is no object. The client's own check of the input then says so.
  return { ...opening, input: isJsonObject(input) ? input : { arguments: input } }
}
