import { Parts } from '../components/gauge.tsx'
import { Time } from '../components/time.tsx'
import { countOf, formatCount, formatShare } from '../format.ts'
import { useApp } from '../state/app.ts'
import { linkToJobs } from '../state/route.ts'
import type { Group } from '../wire.ts'

/** A group's progress in one line. */
export function GroupProgress({
  group: { tenant, group, total, counts, estimated_finish_at: finish },
}: {
  group: Group
}) {
  const now = useApp().now.value
  const ended = counts.completed + counts.failed + counts.cancelled
  return (
    <div class="progress">
      <a class="clip" href={linkToJobs({ tenant, group })} title={group}>
        {group}
      </a>
      <span class="num right">{formatShare(total === 0 ? 0 : ended / total)}</span>
      <GroupBar label={group} counts={counts} total={total} />
      <span class="muted num note">
        {formatCount(ended)} of {countOf(total, 'job')}
        {finish === null || Date.parse(finish) <= now ? null : (
          <>
            , done <Time at={finish} />
          </>
        )}
      </span>
    </div>
  )
}

export function GroupBar({
  label,
  counts,
  total,
}: {
  label: string
  counts: Group['counts']
  total: number
}) {
  return (
    <Parts
      label={label}
      total={total}
      parts={[
        { name: 'completed', count: counts.completed, tone: 'good' },
        { name: 'failed', count: counts.failed, tone: 'bad' },
        { name: 'cancelled', count: counts.cancelled, tone: 'warn' },
        { name: 'running', count: counts.running, tone: 'info' },
      ]}
    />
  )
}
