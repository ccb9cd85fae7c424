import { formatShare } from '../format.ts'

/** How full something is: a name, a bar, a share and the numbers behind it. `isBinding`: jobs wait for this limit. */
export function Gauge(props: {
  name: string
  share: number
  text: string
  title?: string
  isBinding?: boolean
}) {
  const { name, share, text, title, isBinding = false } = props
  return (
    <div class={isBinding ? 'gauge binding' : 'gauge'} title={title}>
      <span class="gauge-name">{name}</span>
      <Bar label={`${name}: ${formatShare(share)}`} share={Math.min(1, Math.max(0, share))} />
      <span class="gauge-share num">{formatShare(share)}</span>
      <span class="gauge-text num muted">{text}</span>
    </div>
  )
}

/** @param props.share 0 to 1 */
export function Bar({
  label,
  share,
  tone,
}: {
  label: string
  share: number
  tone?: 'near' | 'full' | undefined
}) {
  return (
    <span class={`bar ${tone ?? ''}`} role="img" aria-label={label}>
      <i style={{ '--share': String(share) }} />
    </span>
  )
}

export type Part = { name: string; count: number; tone: string }

/** A bar that splits `total` into several parts. */
export function Parts({ label, parts, total }: { label: string; parts: Part[]; total: number }) {
  const said = parts.filter(({ count }) => count > 0).map(({ name, count }) => `${count} ${name}`)
  return (
    <span class="bar parts" role="img" aria-label={`${label}: ${said.join(', ') || 'nothing'} of ${total}`}>
      {parts.map(({ name, count, tone }) => (
        <i key={name} class={tone} style={{ '--share': String(total > 0 ? count / total : 0) }} />
      ))}
    </span>
  )
}
