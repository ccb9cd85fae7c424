import { countOf, formatUsd } from '../format.ts'
import type { DayBar } from '../state/usage-days.ts'

/** The cost, with a bar for each day or for several days. A table beside it has the numbers. */
export function DayBars({ bars }: { bars: readonly DayBar[] }) {
  const most = Math.max(...bars.map(({ costUsd }) => costUsd))
  const dearest = bars.find(({ costUsd }) => costUsd === most)
  const [first, last] = [bars[0], bars.at(-1)]
  if (first === undefined || last === undefined || dearest === undefined) return null
  return (
    <figure class="day-bars">
      <div
        class="day-bars-place"
        role="img"
        aria-label={`USD by day from ${first.from} to ${last.to}. Most: ${describe(dearest)}.`}
      >
        {bars.map((bar) => (
          <span key={bar.from} title={describe(bar)}>
            <i style={{ '--share': String(most > 0 ? bar.costUsd / most : 0) }} />
          </span>
        ))}
      </div>
      <figcaption class="day-bars-ends num muted" aria-hidden="true">
        <span>{first.from}</span>
        <span>at most {formatUsd(most)}</span>
        <span>{last.to}</span>
      </figcaption>
    </figure>
  )
}

function describe({ from, to, costUsd, jobs }: DayBar): string {
  const when = from === to ? from : `${from} to ${to}`
  return `${when}: ${formatUsd(costUsd)}, ${countOf(jobs, 'job')}`
}
