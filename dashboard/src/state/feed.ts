import { batch, type ReadonlySignal, signal } from '@preact/signals'
import type { Api } from '../api.ts'
import type { Caller, Overview, OverviewHistory } from '../wire.ts'
import { type Following, type FollowState, follow } from './follow.ts'
import { createHistory, type History } from './history.ts'
import { openOwnOverview } from './own-overview.ts'

/** The live overview, and the state of the connection that delivers it. */
export type Feed = {
  overview: ReadonlySignal<Overview | null>
  connection: ReadonlySignal<FollowState>
  /** The owner of the key and its scopes; null: not known yet. */
  caller: ReadonlySignal<Caller | null>
  /** When the last snapshot came, Unix ms by this machine's clock; null: none yet. */
  receivedAt: ReadonlySignal<number | null>
  /** How far the server's clock is ahead of this machine's, ms. */
  clockAhead: ReadonlySignal<number>
  history: History
  /** Connects again, for example with another key. */
  restart(): void
  /** Drops all data: it was shown to another key. */
  forget(): void
  stop(): void
  hurry(): void
}

const KEEP_SECONDS = 600
/** Snapshots come every second. */
const SILENCE_MS = 10_000

/** Creates the feed. It connects when you call `restart`. */
export function createFeed({ api, now, random }: { api: Api; now(): number; random(): number }): Feed {
  const overview = signal<Overview | null>(null)
  const connection = signal<FollowState>({ kind: 'connecting' })
  const caller = signal<Caller | null>(null)
  const receivedAt = signal<number | null>(null)
  const clockAhead = signal(0)
  const history = createHistory({ keepSeconds: KEEP_SECONDS })
  let following: Following | null = null

  let isSeeded = false

  /** Loads the time before this page was open. If that fails, charts begin now. */
  function seed(lanes: Overview['lanes']): void {
    isSeeded = true
    if (caller.peek()?.reads_all !== true) return
    api.json<OverviewHistory>('/v1/overview/history').then(
      ({ recent }) => history.seed(recent, lanes),
      () => {},
    )
  }

  const stop = () => {
    following?.stop()
    following = null
  }

  return {
    overview,
    connection,
    caller,
    receivedAt,
    clockAhead,
    history,
    stop,
    hurry: () => following?.hurry(),
    forget() {
      history.clear()
      isSeeded = false
      batch(() => {
        overview.value = null
        caller.value = null
        receivedAt.value = null
      })
    },
    restart() {
      stop()
      following = follow({
        async open(_lastEventId, signal) {
          const known = await api.json<Caller>('/v1/caller', { signal })
          caller.value = known
          return known.reads_all
            ? api.open('/v1/overview/events', { signal, silenceMs: SILENCE_MS })
            : openOwnOverview(api, known, signal)
        },
        onEvents(events) {
          const latest = events.findLast(({ type }) => type === 'overview')
          if (latest === undefined) return
          const snapshot = JSON.parse(latest.data) as Overview
          history.add(snapshot)
          if (!isSeeded) seed(snapshot.lanes)
          batch(() => {
            overview.value = snapshot
            receivedAt.value = now()
            clockAhead.value = Date.parse(snapshot.at) - now()
          })
        },
        onState: (state) => {
          connection.value = state
        },
        now,
        random,
      })
    },
  }
}
