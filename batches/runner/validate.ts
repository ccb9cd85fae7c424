import { createBreather } from '../../lib/breathe.ts'
import { describeJsonExcess, type JsonExcess } from '../../lib/scan-json.ts'
import { type Batch, type BatchFault, BLOCK_LINES } from '../batch.ts'
import { isFault, type LineFault } from '../check-line.ts'
import { type BatchDeps, InputGoneError, LINE_BYTES, readInput } from './lines.ts'

/** Validation stops after this many faults. */
const MAX_FAULTS = 100
/** OpenAI's limit. */
const MAX_LINES = 50_000

export type LinesVerdict =
  | { faults: BatchFault[] }
  | { layout: number[]; total: number; model: string | null }

/**
 * Reads a batch's input once. Returns its faults, up to a hundred, or where its blocks begin. No line becomes a job before all lines are
 * valid.
 */
export async function validateInput(
  { files, lines }: Pick<BatchDeps, 'files' | 'lines'>,
  batch: Batch,
  check: () => void,
): Promise<LinesVerdict> {
  const faults: BatchFault[] = []
  const customIds = new Set<string>()
  const models = new Set<string>()
  const layout: number[] = []
  const breathe = createBreather()
  let total = 0
  try {
    for await (const { text, excess, number, start } of readInput({ files, lines }, batch, 0)) {
      if (total === MAX_LINES) {
        const message = `The input has more than ${MAX_LINES} requests.`
        return { faults: [{ code: 'too_many_tasks', message, param: null, line: null }] }
      }
      if (total % BLOCK_LINES === 0) layout.push(start)
      total++
      const found = text === null ? describeTooMuch(excess) : await lines.check(text, batch.endpoint)
      if (isFault(found)) faults.push({ ...found, line: number })
      else if (customIds.has(found.customId)) faults.push({ ...duplicate, line: number })
      else {
        customIds.add(found.customId)
        models.add(found.model)
      }
      if (faults.length === MAX_FAULTS) break
      await breathe()
      check()
    }
  } catch (error) {
    if (!(error instanceof InputGoneError)) throw error
    const message = 'The input file was deleted before the batch began.'
    return { faults: [{ code: 'input_file_not_found', message, param: 'input_file_id', line: null }] }
  }
  if (total === 0) {
    return {
      faults: [{ code: 'empty_file', message: 'The input has no requests.', param: null, line: null }],
    }
  }
  if (faults.length > 0) return { faults }
  return { layout, total, model: models.size === 1 ? [...models][0]! : null }
}

const duplicate = {
  code: 'duplicate_custom_id',
  message: 'The custom_id of this request was used by a request before it.',
  param: 'custom_id',
}

function describeTooMuch(excess: JsonExcess | undefined): LineFault {
  const message = excess === undefined ? `is longer than ${LINE_BYTES} bytes` : describeJsonExcess(excess)
  return { code: 'line_too_long', message: `The line ${message}.`, param: null }
}
