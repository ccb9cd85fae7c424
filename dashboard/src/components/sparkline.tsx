const WIDTH = 100
const HEIGHT = 24

/** A line without axes that shows only whether values rise or fall. */
export function Sparkline({ values }: { values: (number | null)[] }) {
  const known = values.filter((value) => value !== null)
  if (known.length < 2) return <svg class="sparkline" aria-hidden="true" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} />
  const top = Math.max(...known)
  const bottom = Math.min(0, ...known)
  const scale = (value: number) => HEIGHT - 2 - ((value - bottom) / (top - bottom || 1)) * (HEIGHT - 4)
  const points = known.map(
    (value, index) => `${((index / (known.length - 1)) * WIDTH).toFixed(1)},${scale(value).toFixed(1)}`,
  )
  return (
    <svg class="sparkline" aria-hidden="true" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none">
      <polygon points={`0,${HEIGHT} ${points.join(' ')} ${WIDTH},${HEIGHT}`} />
      <polyline points={points.join(' ')} />
    </svg>
  )
}
