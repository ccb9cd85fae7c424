import type { JsonObject } from '../../lib/json.ts'
import type { Client, ErrorMembers } from '../client.ts'
import type { Journal } from './journal.ts'
import { encodeLine, type Form, type InputIdentity, type LineRequest } from './read-request.ts'

/** Maximum of lines in one upload, and about the maximum of bytes. */
const MAX_BLOCK_LINES = 250
const MAX_BLOCK_BYTES = 4 * 1024 * 1024

/** An upload is answered when all of its jobs are stored. */
const UPLOAD_MS = 120_000

/** How long to wait before refused lines are sent again, by error code, in ms. */
const WAITS: Record<string, number> = {
  queue_full: 2_000,
  rate_limited: 1_000,
  budget_exhausted: 60_000,
  unavailable: 2_000,
  request_timeout: 1_000,
  internal_error: 2_000,
}
/** A line that causes this many internal errors is given up. */
const MOST_INTERNAL_ERRORS = 5

/** A line whose job is at the server, or that was refused. */
export type Submitted = { line: number; form: Form } & ({ id: string } | { error: ErrorMembers })

export type PostDeps = {
  client: Pick<Client, 'request'>
  journal: Pick<Journal, 'take' | 'add'>
  identity: InputIdentity
  /** Retry jobs that an earlier run left failed or cancelled. */
  retryFailed?: boolean
  sleep: (ms: number) => Promise<unknown>
  onTrouble: (trouble: string | null) => void
}

type BulkAnswer = { index: number; id?: string; error?: ErrorMembers }
type Open = { place: number; line: number; create: JsonObject; internalErrors: number }

/** Sends the lines in blocks and yields the outcome of each, in order. Lines that an earlier run sent are not sent again. */
export async function* postBlocks(
  requests: AsyncIterable<LineRequest>,
  deps: PostDeps,
): AsyncGenerator<Submitted> {
  for await (const block of gatherBlocks(requests)) yield* postBlock(block, deps)
}

async function* postBlock(block: LineRequest[], deps: PostDeps): AsyncGenerator<Submitted> {
  const answers: (Submitted | undefined)[] = []
  let open: Open[] = []
  for (const [place, request] of block.entries()) {
    const { line, form } = request
    const known = 'create' in request ? deps.journal.take(line) : undefined
    if ('fault' in request) answers[place] = { line, form, error: request.fault }
    else if (known !== undefined) answers[place] = { line, form, id: known }
    else open.push({ place, line, create: request.create, internalErrors: 0 })
  }

  let next = 0
  for (;;) {
    const { left, wait, trouble } = await postOpen()
    open = left
    for (let answer = answers[next]; answer !== undefined; answer = answers[++next]) yield answer
    if (open.length === 0) return
    deps.onTrouble(trouble)
    await deps.sleep(wait)
  }

  async function postOpen(): Promise<{ left: Open[]; wait: number; trouble: string }> {
    const left: Open[] = []
    let wait = 0
    let trouble = ''
    if (open.length === 0) return { left, wait, trouble }
    const found = await upload(open, deps)
    const made: { line: number; id: string }[] = []
    for (const [index, entry] of open.entries()) {
      const { line, place } = entry
      const { form } = block[place]!
      const answer = found.get(index)
      if (answer?.id !== undefined) {
        answers[place] = { line, form, id: answer.id }
        made.push({ line, id: answer.id })
        continue
      }
      // No answer: the server stopped reading before this line.
      const error = answer?.error
      const pause = error === undefined ? WAITS.unavailable : WAITS[error.code ?? '']
      if (error?.code === 'internal_error') entry.internalErrors++
      if (error !== undefined && (pause === undefined || entry.internalErrors >= MOST_INTERNAL_ERRORS)) {
        answers[place] = { line, form, error }
        continue
      }
      left.push(entry)
      wait = Math.max(wait, pause ?? 0)
      trouble = error?.message ?? 'the upload was cut short'
    }
    if (made.length > 0) await deps.journal.add(made)
    return { left, wait, trouble }
  }
}

async function upload(
  open: Open[],
  { client, identity, retryFailed }: PostDeps,
): Promise<Map<number, BulkAnswer>> {
  const body = open.map(({ create, line }) => `${encodeLine(create, line, identity)}\n`).join('')
  const headers = {
    'content-type': 'application/x-ndjson',
    ...(retryFailed ? { 'idempotency-key-policy': 'retry-failed' } : {}),
  }
  const text = await client.request('POST', '/v1/jobs/bulk', { body, headers, timeoutMs: UPLOAD_MS })
  const answers = text.split('\n').filter((line) => line !== '')
  return new Map(
    answers.map((line) => JSON.parse(line) as BulkAnswer).map((answer) => [answer.index, answer]),
  )
}

async function* gatherBlocks(requests: AsyncIterable<LineRequest>): AsyncGenerator<LineRequest[]> {
  let block: LineRequest[] = []
  let bytes = 0
  for await (const request of requests) {
    block.push(request)
    bytes += request.size
    if (block.length < MAX_BLOCK_LINES && bytes < MAX_BLOCK_BYTES) continue
    yield block
    block = []
    bytes = 0
  }
  if (block.length > 0) yield block
}
