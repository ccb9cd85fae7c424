import { formatAbsolute, formatCountdown, formatRelative, nothing } from '../format.ts'
import { useApp } from '../state/app.ts'

/** When something was or will be, counted from now; the title has date and zone. */
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

/** What is left until then, in seconds. */
export function Countdown({ to }: { to: number }) {
  const now = useApp().now.value
  return (
    <time dateTime={new Date(to).toISOString()} title={formatAbsolute(to)}>
      {formatCountdown(to - now)}
    </time>
  )
}

/** When something is expected; of an estimate that has passed it says `late`, not that it has come true. */
export function Expected({ at, late }: { at: string | null; late: string }) {
  const now = useApp().now.value
  return at !== null && Date.parse(at) <= now ? <span class="muted">{late}</span> : <Time at={at} />
}
