import type { AtRest, StoredError } from '../jobs/at-rest.ts'
import { listenTo } from '../jobs/follow.ts'
import { jobChannel } from '../jobs/keys.ts'
import type { PubSub } from '../jobs/pubsub.ts'
import type { JsonValue } from '../lib/json.ts'
import type { RedisClient } from '../lib/redis.ts'
import { type FlowEventType, type FlowStatus, isOver } from './flow.ts'
import { flowKey } from './keys.ts'
import type { FlowView } from './view.ts'

/** One event of a flow as subscribers get it. `cursor` is the value for `Last-Event-ID`. */
export type FlowEvent = {
  cursor: string
  event: FlowEventType
  data: { flow_id: string; seq: number; at: string; [member: string]: JsonValue | FlowView | undefined }
}
/** A follower's stream of a flow's events. `finished`: the flow is over, and no event follows the cursor. */
export type FlowFollowing = { finished: boolean; events: AsyncIterable<FlowEvent> }

/** Events read in one round trip. */
const PAGE = 500

type StoredFlowEvent = { event: FlowEventType; at: number; error?: StoredError } & Record<string, JsonValue>

/**
 * Follows a flow's events: those after `cursor` ('': from the first), then live ones, until the terminal event or the signal. Null: there
 * is no such flow. `finished`: the flow is over and has no event after the cursor.
 *
 * @param deps.read reads the present flow, which terminal events include; null: it is gone
 */
export async function followFlow(
  deps: { redis: RedisClient; pubsub: PubSub; atRest: AtRest; read: () => Promise<FlowView | null> },
  root: string,
  id: string,
  cursor: string,
  signal: AbortSignal,
): Promise<FlowFollowing | null> {
  const { redis, pubsub, atRest } = deps
  const key = flowKey(root, id)
  const readStatus = async () => {
    const [status, deleted] = await redis.hmget(key, 'status', 'deleted')
    return status && !deleted ? (status as FlowStatus) : null
  }
  const status = await readStatus()
  if (status === null) return null
  const known = await redis.llen(`${key}:events`)
  const seen = Math.min(known, Math.max(0, Number.parseInt(cursor, 10) || 0))
  if (isOver(status) && seen === known) return { finished: true, events: nothing() }

  const render = (text: string, seq: number) =>
    renderFlowEvent({ atRest, read: deps.read }, { root, id, seq }, text)

  async function* events(): AsyncGenerator<FlowEvent> {
    const hints = await listenTo(pubsub, jobChannel(root, id), signal)
    let seq = seen
    try {
      while (!signal.aborted) {
        await hints.next()
        let hasEnded = false
        let page: string[]
        do {
          if (signal.aborted) return
          page = await redis.lrange(`${key}:events`, seq, seq + PAGE - 1)
          for (const text of page) {
            const event = await render(text, seq + 1)
            if (event === null) return
            yield event
            seq++
            hasEnded = isTerminalEvent(event.event)
          }
        } while (page.length === PAGE)
        // If events follow a terminal event, the flow was retried and continues.
        if (hasEnded) return
        if (page.length === 0 && (await readStatus()) === null) return
      }
    } finally {
      hints.leave()
    }
  }
  return { finished: false, events: events() }
}

/** Turns a stored event into what subscribers get; null: the flow that it includes is gone. */
export async function renderFlowEvent(
  { atRest, read }: { atRest: AtRest; read: () => Promise<FlowView | null> },
  { root, id, seq }: { root: string; id: string; seq: number },
  text: string,
): Promise<FlowEvent | null> {
  const { event, at, error, ...members } = JSON.parse(text) as StoredFlowEvent
  const data: FlowEvent['data'] = { flow_id: id, seq, at: new Date(at).toISOString(), ...members }
  if (error !== undefined) {
    const { code, message, provider_status, retryable } = atRest.openError(root, error)
    data.error = { code, message, provider_status, retryable }
  }
  if (isTerminalEvent(event)) {
    const flow = await read()
    if (flow === null) return null
    // If the flow was retried since, the event still shows it as it ended then.
    const ended = event.slice('flow.'.length) as FlowStatus
    data.flow = flow.status === ended ? flow : { ...flow, status: ended, finished_at: data.at }
  }
  return { cursor: String(seq), event, data }
}

function isTerminalEvent(event: FlowEventType): boolean {
  return event === 'flow.completed' || event === 'flow.failed' || event === 'flow.cancelled'
}

async function* nothing(): AsyncGenerator<FlowEvent> {}
