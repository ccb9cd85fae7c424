import { useEffect, useRef, useState } from 'preact/hooks'
import uPlot from 'uplot'
import { useApp } from '../state/app.ts'

export type ChartLine = {
  name: string
  values: (number | null)[]
  /** The name of a colour token, such as `line-1`. */
  color: string
  isFilled?: boolean
  isDashed?: boolean
}

export type ChartProps = {
  /** What the chart shows, for screen readers. */
  label: string
  /** Unix seconds. */
  at: number[]
  lines: ChartLine[]
  format: (value: number) => string
  /** The scale reaches at least this value. */
  reach: number
  height: number
  /** 1 where the background is shaded. */
  shade?: (number | null)[]
}

/** The shortest time that a chart shows, s. */
const LEAST_SPAN = 60
const AXIS_WIDTH = 48

/** Lines over time. Columns may grow in place: the chart draws them again at every snapshot while it is visible. */
export function Chart(props: ChartProps) {
  const { label, lines, height, format } = props
  const app = useApp()
  const place = useRef<HTMLDivElement>(null)
  const latest = useRef(props)
  latest.current = props
  const chart = useRef<uPlot | null>(null)
  const isVisible = useRef(true)
  const [pointed, setPointed] = useState<number | null>(null)
  const palette = app.palette.value
  const received = app.feed.receivedAt.value
  const names = lines.map(({ name }) => name).join('\n')

  // uPlot takes colours and lines only when a chart is made, so a change of them makes a new one.
  useEffect(() => {
    const element = place.current!
    const made = new uPlot(describe(element, latest, setPointed), toData(latest.current), element)
    chart.current = made
    const resize = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height }))
    resize.observe(element)
    const sight = new IntersectionObserver((entries) => {
      const wasVisible = isVisible.current
      isVisible.current = entries.at(-1)!.isIntersecting
      if (isVisible.current && !wasVisible) made.setData(toData(latest.current))
    })
    sight.observe(element)
    return () => {
      resize.disconnect()
      sight.disconnect()
      made.destroy()
      chart.current = null
    }
  }, [palette, names, height])

  // Each snapshot brings new data to draw, and so does the history that the server remembers.
  useEffect(() => {
    if (isVisible.current) chart.current?.setData(toData(latest.current))
  }, [received, props.at.length, props.at[0]])

  const said = lines.map(({ name, values }) => `${name} ${show(values.at(-1), format)}`).join(', ')
  return (
    <figure class="chart">
      <div
        ref={place}
        class="chart-place"
        role="img"
        aria-label={`${label}. Now: ${said}.`}
        style={{ height: `${height}px` }}
      />
      <figcaption class="legend" aria-hidden="true">
        {lines.map(({ name, values, color, isDashed }) => (
          <span key={name}>
            <i class={isDashed ? 'dashed' : ''} style={{ '--color': `var(--${color})` }} />
            {name} <b class="num">{show(pointed === null ? values.at(-1) : values[pointed], format)}</b>
          </span>
        ))}
      </figcaption>
    </figure>
  )
}

function show(value: number | null | undefined, format: (value: number) => string): string {
  return value === null || value === undefined ? '–' : format(value)
}

function toData({ at, lines }: ChartProps): uPlot.AlignedData {
  return [at, ...lines.map(({ values }) => values)]
}

function describe(
  element: HTMLElement,
  latest: { current: ChartProps },
  setPointed: (index: number | null) => void,
): uPlot.Options {
  const { height, lines } = latest.current
  const [ink, grid, shade] = ['text-3', 'grid', 'shade'].map((name) => readColor(element, name))
  const font = `10.5px ${getComputedStyle(element).fontFamily}`
  const axis = { stroke: ink!, font, grid: { stroke: grid!, width: 1 }, ticks: { show: false } }
  return {
    width: element.clientWidth,
    height,
    legend: { show: false },
    padding: [8, 4, 0, 0],
    cursor: { drag: { x: false, y: false }, points: { size: 6 }, sync: { key: 'lanes', setSeries: false } },
    scales: {
      x: { time: true, range: (_chart, min, max) => spanOf(min, max) },
      y: { range: (_chart, _min, max) => [0, Math.max(latest.current.reach, max ?? 0) * 1.05 || 1] },
    },
    axes: [
      { ...axis, size: 22, space: 70, grid: { show: false }, values: '{HH}:{mm}:{ss}' },
      {
        ...axis,
        size: AXIS_WIDTH,
        space: 28,
        values: (_chart, ticks) => ticks.map((tick) => latest.current.format(tick)),
      },
    ],
    series: [
      {},
      ...lines.map(({ color, isFilled, isDashed }): uPlot.Series => {
        const stroke = readColor(element, color)
        return {
          stroke,
          width: isDashed ? 1 : 1.75,
          points: { show: false },
          ...(isDashed ? { dash: [4, 4] } : {}),
          ...(isFilled ? { fill: readColor(element, `${color}-fill`) } : {}),
        }
      }),
    ],
    hooks: {
      drawClear: [(chart) => shadePauses(chart, latest.current.shade, shade!)],
      setCursor: [(chart) => setPointed(chart.cursor.idx ?? null)],
    },
  }
}

/** The times that a chart shows, Unix s; the last minute while it has no data. */
function spanOf(min: number | null, max: number | null): [number, number] {
  const end = max ?? Date.now() / 1_000
  return [Math.min(min ?? end, end - LEAST_SPAN), end]
}

/** A token's colour in a form that a canvas accepts. Tokens that differ by theme resolve only in a property of an element. */
function readColor(element: HTMLElement, token: string): string {
  element.style.color = `var(--${token})`
  const { color } = getComputedStyle(element)
  element.style.color = ''
  return color
}

function shadePauses(chart: uPlot, shade: (number | null)[] | undefined, color: string): void {
  if (shade === undefined) return
  const { left, top, width, height } = chart.bbox
  const at = chart.data[0]
  chart.ctx.save()
  chart.ctx.beginPath()
  chart.ctx.rect(left, top, width, height)
  chart.ctx.clip()
  chart.ctx.fillStyle = color
  for (let index = 0; index < shade.length; index++) {
    if (shade[index] !== 1) continue
    const start = chart.valToPos(at[index]!, 'x', true)
    while (shade[index + 1] === 1) index++
    const end = chart.valToPos(at[Math.min(index + 1, at.length - 1)]!, 'x', true)
    chart.ctx.fillRect(start, top, Math.max(1, end - start), height)
  }
  chart.ctx.restore()
}
