import { Chip } from '../components/chip.tsx'
import { Countdown } from '../components/time.tsx'
import { formatAbsolute, formatCountdown } from '../format.ts'
import { useApp } from '../state/app.ts'

/** Snapshots come every second. After this time without one the page shows old data, ms. */
const STALE_MS = 3_000

/** The age of the data shown, ms; null: it is fresh, or there is none yet. */
function useStaleness(): number | null {
  const app = useApp()
  const received = app.feed.receivedAt.value
  const now = app.now.value - app.feed.clockAhead.value
  return received !== null && now - received > STALE_MS ? now - received : null
}

/** The state of the connection in a word. */
export function Connection() {
  const { feed } = useApp()
  const staleness = useStaleness()
  const connection = feed.connection.value
  const { kind } = connection
  if (connection.kind === 'refused' && (connection.status === 401 || connection.status === 403)) {
    return <Chip tone="idle" label="locked" />
  }
  if (kind === 'lost' || kind === 'refused') return <Chip tone="bad" label="offline" />
  if (staleness !== null) return <Chip tone="warn" label="stale" />
  return kind === 'live' ? <Chip tone="good" label="live" /> : <Chip tone="idle" label="connecting" />
}

/** A sentence about the connection, if something is wrong with it. */
export function Banner() {
  const { feed, asksForKey } = useApp()
  const staleness = useStaleness()
  const connection = feed.connection.value
  const received = feed.receivedAt.value
  if (asksForKey.value) return null
  const age =
    staleness === null || received === null ? null : (
      <span title={formatAbsolute(received)}>
        What you see is <b class="num">{formatCountdown(staleness)}</b> old.{' '}
      </span>
    )
  if (connection.kind === 'lost') {
    return (
      <div class="banner bad">
        <span>
          {connection.reason} {age}
          Trying again in <Countdown to={connection.retryAt + feed.clockAhead.value} />.
        </span>
        <button type="button" class="small" onClick={feed.hurry}>
          Try now
        </button>
      </div>
    )
  }
  if (connection.kind === 'refused' && connection.status !== 401 && connection.status !== 403) {
    return (
      <div class="banner bad">
        <span>
          {connection.message} {age}
        </span>
        <button type="button" class="small" onClick={feed.restart}>
          Try now
        </button>
      </div>
    )
  }
  if (age === null) return null
  return (
    <div class="banner warn">
      <span>
        {connection.kind === 'live' ? 'The server is connected, but has no news. ' : ''}
        {age}
      </span>
    </div>
  )
}
