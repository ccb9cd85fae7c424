import { styleText } from 'node:util'
import type { SimulatorState } from '../../simulator/state.ts'
import { chatLimits } from './stack.ts'

const WIDEST_BAR = 24
/** The width of a line without its bar. */
const BESIDE_BAR = 62
const REDRAW_MS = 250
const PLAIN_LINE_MS = 5_000
/** Seconds over which the rate is averaged. */
const RATE_SECONDS = 3

/** The progress, as it is shown during the run. */
export type Snapshot = {
  /** Unix ms. */
  at: number
  /** Since the load was submitted. */
  seconds: number
  chats: { done: number; total: number }
  embeddings: { done: number; total: number }
  chatProvider: SimulatorState
  embeddingProvider: SimulatorState
  /** What birch is reading now. */
  text: string
}

export type Output = Pick<NodeJS.WriteStream, 'write' | 'isTTY' | 'columns'>

/**
 * Shows snapshots until it is stopped: on a terminal a block that is redrawn in place, elsewhere a line every five
 * seconds.
 */
export function showProgress(out: Output, look: () => Promise<Snapshot>) {
  let drawnLines = 0
  let stopped = false

  async function draw(): Promise<void> {
    const snapshot = await look()
    if (out.isTTY) {
      const lines = renderBlock(snapshot, out.columns || 80)
      const back = drawnLines > 0 ? `\x1b[${drawnLines}A\x1b[0J` : ''
      out.write(`${back}${lines.join('\n')}\n`)
      drawnLines = lines.length
    } else {
      out.write(`${renderLine(snapshot)}\n`)
    }
  }

  async function run(): Promise<void> {
    const pauseMs = out.isTTY ? REDRAW_MS : PLAIN_LINE_MS
    while (!stopped) {
      await draw()
      await rest(pauseMs)
    }
    await draw()
  }

  let endRest = () => {}
  function rest(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms)
      endRest = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  const running = run()
  return {
    /** Rejects when no snapshot can be taken any more. */
    running,
    async stop(): Promise<void> {
      stopped = true
      endRest()
      await running
    },
  }
}

function renderBlock(snapshot: Snapshot, columns: number): string[] {
  const { chats, embeddings, text } = snapshot
  const rate = computeRate(snapshot)
  const perSecond = chatLimits.requests_per_minute / 60
  const width = Math.max(1, Math.min(WIDEST_BAR, columns - BESIDE_BAR))
  const quote = text.slice(-Math.max(20, columns - 20))
  return [
    '',
    `  chats        ${drawBar(chats.done / chats.total, width)}  ${count(chats.done)} of ${count(chats.total)} answered`,
    `  embeddings   ${drawBar(embeddings.done / embeddings.total, width)}  ${count(embeddings.done)} of ${count(embeddings.total)} answered`,
    `  chat limit   ${drawBar(rate / perSecond, width)}  ${rate.toFixed(1)} of ${perSecond} requests a second, ${countRejections(snapshot)} rejected`,
    `  birch reads  ${styleText('dim', quote)}`,
    '',
  ]
}

function renderLine(snapshot: Snapshot): string {
  const { seconds, chats, embeddings, text } = snapshot
  return [
    `${seconds.toFixed(0).padStart(4)} s`,
    `chats ${count(chats.done)}/${count(chats.total)}`,
    `embeddings ${count(embeddings.done)}/${count(embeddings.total)}`,
    `${computeRate(snapshot).toFixed(1)} of ${chatLimits.requests_per_minute / 60} chat requests a second`,
    `${countRejections(snapshot)} rejected`,
    `birch reads "${text.slice(0, 30)}…"`,
  ].join('  ')
}

/** Chat requests a second over the last full seconds. */
function computeRate({ at, chatProvider }: Snapshot): number {
  const now = Math.floor(at / 1000)
  const recent = chatProvider.timeline.filter(({ second }) => second < now && second >= now - RATE_SECONDS)
  return recent.reduce((sum, { requests }) => sum + requests, 0) / RATE_SECONDS
}

function countRejections({ chatProvider, embeddingProvider }: Snapshot): number {
  return [chatProvider, embeddingProvider]
    .flatMap(({ rejected }) => Object.values(rejected))
    .reduce((sum, number) => sum + number, 0)
}

function drawBar(share: number, width: number): string {
  const filled = Math.round(Math.min(1, Math.max(0, share)) * width)
  return styleText('green', '█'.repeat(filled)) + styleText('dim', '░'.repeat(width - filled))
}

function count(number: number): string {
  return number.toLocaleString('en')
}
