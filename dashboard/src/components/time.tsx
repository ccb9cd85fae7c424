import { formatAbsolute, formatCountdown, formatRelative, nothing } from '../format.ts'
import { useApp } from '../state/app.ts'

/** A time relative to now; the title has the date and the zone. */
export function Time({ at }: { at: string | number | null }) {
  const now = useApp().now.value
  if (at === null) return <span class="muted">{nothing}</span>
  const time = typeof at === 'number' ? at : Date.parse(at)
  return (
    <time dateTime={new Date(time).toISOString()} title={formatAbsolute(time)}>
      {formatRelative(time, now)}
    </time>
  )
}

/** The time left until then, in seconds. */
export function Countdown({ to }: { to: number }) {
  const now = useApp().now.value
  return (
    <time dateTime={new Date(to).toISOString()} title={formatAbsolute(to)}>
      {formatCountdown(to - now)}
    </time>
  )
}

/** When something is expected. An estimate that has passed reads `late`, because it has not happened yet. */
export function Expected({ at, late }: { at: string | null; late: string }) {
  const now = useApp().now.value
  return at !== null && Date.parse(at) <= now ? <span class="muted">{late}</span> : <Time at={at} />
}
