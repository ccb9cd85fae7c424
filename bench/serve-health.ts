// Preloaded into Sluice's own processes, so that they report how long they held their event loop and how much memory
// they took.
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { serveParent } from './serve-parent.ts'

/** `peakMiB`: the most memory the process had at any time; delays since the latest `restart`. */
export type Health = { peakMiB: number; maxDelayMs: number; p99DelayMs: number; cpuMs: number }

/** Between two looks at the histogram, ms; a free loop shows this much. */
const RESOLUTION_MS = 10
const delays = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
delays.enable()

function readHealth(): Health {
  const { user, system } = process.cpuUsage()
  const toMs = (nanoseconds: number) => Math.max(0, Math.round(nanoseconds / 1e6 - RESOLUTION_MS))
  return {
    // KiB on every platform.
    peakMiB: Math.round(process.resourceUsage().maxRSS / 1024),
    maxDelayMs: toMs(delays.max),
    p99DelayMs: toMs(delays.percentile(99)),
    cpuMs: Math.round((user + system) / 1000),
  }
}

serveParent({ health: readHealth, restart: () => delays.reset() })
