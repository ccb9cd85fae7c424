import type { Client } from '../client.ts'
import { mapInOrder, readAhead } from '../flow.ts'
import { awaitResult } from './await-result.ts'
import type { Journal } from './journal.ts'
import { type PostDeps, postBlocks } from './post-blocks.ts'
import { type Input, readRequests } from './read-input.ts'
import type { LineRequest } from './read-request.ts'
import { isCompleted, renderResult } from './render-result.ts'

/** Number of results that are requested at once, and so may be in memory. */
const CONCURRENT_RESULTS = 32

export type SubmitOptions = {
  input: Input
  /** Lines, from the first, that already have their result. */
  skip: number
  /** Maximum of jobs at the server whose results are not written yet (plus a block). */
  window: number
  /** Retry jobs that an earlier run left failed or cancelled. */
  retryFailed?: boolean
  client: Client
  journal: Journal
  write: (text: string) => Promise<void>
  sleep: (ms: number) => Promise<unknown>
  now: () => number
  onSubmitted: () => void
  /** A line is written. */
  onWritten: (completed: boolean) => void
  onTrouble: PostDeps['onTrouble']
}

/**
 * Submits the lines of a file, waits for their jobs and writes their outcomes in the order of the file. Memory use does not grow with the
 * file: lines are sent only as far ahead of the results as `window` allows.
 */
export async function submitFile(options: SubmitOptions): Promise<void> {
  const { input, skip, window, retryFailed, client, journal, sleep, now, onTrouble } = options
  const requests = skipFirst(readRequests(input.path), skip)
  const submitted = postBlocks(requests, {
    client,
    journal,
    identity: input,
    sleep,
    onTrouble,
    ...(retryFailed ? { retryFailed } : {}),
  })
  const ahead = readAhead(tap(submitted, options.onSubmitted), window)
  const results = mapInOrder(ahead, CONCURRENT_RESULTS, (one) => awaitResult(one, { client, sleep, now }))
  for await (const result of results) {
    await options.write(renderResult(result, input.digest))
    options.onWritten(isCompleted(result))
  }
}

async function* skipFirst(requests: AsyncIterable<LineRequest>, count: number): AsyncGenerator<LineRequest> {
  let passed = 0
  for await (const request of requests) if (++passed > count) yield request
}

async function* tap<T>(source: AsyncIterable<T>, onItem: () => void): AsyncGenerator<T> {
  for await (const item of source) {
    onItem()
    yield item
  }
}
