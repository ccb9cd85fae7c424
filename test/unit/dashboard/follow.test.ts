import { expect, onTestFinished, test } from 'vitest'
import { toOpenAnswer } from '../../../client/http.ts'
import { ApiFailure } from '../../../dashboard/src/api.ts'
import { type FollowDeps, type FollowState, follow } from '../../../dashboard/src/state/follow.ts'

type Opened = { lastEventId: string; signal: AbortSignal }
type Answer = (opened: Opened) => Response | Promise<Response>

const text = (body: string) => new Response(body)

/** Follows a server that answers one connection after the other; resolves when a state matches. */
function start(
  answers: Answer[],
  { silenceMs = 60_000, ...deps }: Partial<FollowDeps> & { silenceMs?: number } = {},
) {
  const opened: Opened[] = []
  const seen: string[] = []
  const states: FollowState[] = []
  const waiting: { kind: string; resolve: () => void }[] = []
  const following = follow({
    async open(lastEventId, signal) {
      const connection = { lastEventId, signal }
      opened.push(connection)
      const answer = answers[opened.length - 1]
      if (answer === undefined) throw new Error('nobody asked for another connection')
      return toOpenAnswer(await answer(connection), silenceMs)
    },
    onEvents: (events) => seen.push(...events.map(({ data }) => data)),
    onState(state) {
      states.push(state)
      for (const { kind, resolve } of waiting) if (kind === state.kind) resolve()
    },
    now: Date.now,
    random: () => 0.5,
    waits: { first: 1, most: 4 },
    ...deps,
  })
  onTestFinished(following.stop)
  const reaches = (kind: FollowState['kind']) =>
    new Promise<void>((resolve) => {
      if (states.some((state) => state.kind === kind)) resolve()
      waiting.push({ kind, resolve })
    })
  return { opened, seen, states, following, reaches }
}

test('a connection that breaks is made again, from the last event on', async () => {
  const { opened, seen, reaches } = start([
    () => text('id: 1\ndata: one\n\nid: 2\ndata: two\n\n'),
    () => {
      throw new ApiFailure(0, null, 'The server does not answer.')
    },
    () => text('id: 3\ndata: three\n\n'),
    () => new Response(null, { status: 204 }),
  ])
  await reaches('ended')
  expect(seen).toEqual(['one', 'two', 'three'])
  expect(opened.map(({ lastEventId }) => lastEventId)).toEqual(['', '2', '2', '3'])
})

test('a stream that closes after its last event is not requested again', async () => {
  const { states, reaches } = start([() => text('id: 1\ndata: over\n\n')], {
    isLast: ({ data }) => data === 'over',
  })
  await reaches('ended')
  expect(states.map(({ kind }) => kind)).toEqual(['connecting', 'live', 'ended'])
})

test('a request that would be refused again is not repeated', async () => {
  const refuse = () => {
    throw new ApiFailure(404, 'not_found', 'there is no such job')
  }
  const { states, opened, reaches } = start([refuse])
  await reaches('refused')
  expect(states.at(-1)).toEqual({ kind: 'refused', status: 404, message: 'there is no such job' })
  expect(opened).toHaveLength(1)
})

test('a request to a server that is busy or away is repeated', async () => {
  const { opened, reaches } = start([
    ...[429, 503, 408].map((status) => () => {
      throw new ApiFailure(status, null, 'later')
    }),
    () => new Response(null, { status: 204 }),
  ])
  await reaches('ended')
  expect(opened).toHaveLength(4)
})

test('a silent connection counts as dead', async () => {
  const silent = ({ signal }: Opened) =>
    new Response(
      new ReadableStream({
        start: (controller) => signal.addEventListener('abort', () => controller.error(signal.reason)),
      }),
    )
  const { opened, reaches } = start([silent, () => new Response(null, { status: 204 })], { silenceMs: 20 })
  await reaches('ended')
  expect(opened[0]!.signal.aborted).toBe(true)
})

test('waits grow up to the longest, and a user may end one', async () => {
  const fail = () => {
    throw new ApiFailure(503, null, 'later')
  }
  const { states, following, reaches } = start([fail, () => new Response(null, { status: 204 })], {
    waits: { first: 3_600_000, most: 3_600_000 },
    now: () => 0,
  })
  await reaches('lost')
  expect(states.at(-1)).toEqual({ kind: 'lost', retryAt: 2_700_000, reason: 'later' })
  // The wait begins once the state is reported.
  await new Promise(setImmediate)
  following.hurry()
  await reaches('ended')
})

test('a follower that is stopped reports nothing more', async () => {
  const { states, following, reaches, opened } = start([
    ({ signal }) =>
      new Response(
        new ReadableStream({
          start: (controller) => signal.addEventListener('abort', () => controller.error(signal.reason)),
        }),
      ),
  ])
  await reaches('live')
  following.stop()
  await new Promise(setImmediate)
  expect(opened[0]!.signal.aborted).toBe(true)
  expect(states.map(({ kind }) => kind)).toEqual(['connecting', 'live'])
})
