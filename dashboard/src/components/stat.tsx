import type { ComponentChildren } from 'preact'
import { Sparkline } from './sparkline.tsx'

/** A summary number, what it counts, and how it changed. */
export function Stat(props: {
  name: string
  value: string
  unit?: string
  note?: ComponentChildren
  values?: (number | null)[]
  tone?: 'bad'
  href?: string
}) {
  const { name, value, unit, note, values, tone, href } = props
  return (
    <div class={`stat ${tone ?? ''}`}>
      <dt>{href === undefined ? name : <a href={href}>{name}</a>}</dt>
      <dd>
        <span class="stat-value num">{value}</span>
        {unit === undefined ? null : <span class="unit"> {unit}</span>}
        <div class="note num">{note ?? '\u00a0'}</div>
      </dd>
      {values === undefined ? null : <Sparkline values={values} />}
    </div>
  )
}
