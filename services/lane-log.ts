import { resolveLane } from '../config/lanes.ts'
import { BREAKER_OPEN } from '../ratelimit/breaker.ts'
import { type LaneState, type ServiceTier, STANDARD } from '../ratelimit/lane-state.ts'
import type { Closers } from './closers.ts'
import type { openStore, ServicesDeps } from './store.ts'

/** How often a lane that is not available is checked again, ms. A short pause after a 429 is over by then, and was logged once. */
const LOOK_MS = 5000

/** Logs when a lane becomes unavailable and when it is available again, once each time. */
export type LaneLog = {
  /** The lane lets nothing through; `tier`: nothing of this service tier. Absent: standard. */
  note(lane: string, tier?: ServiceTier): void
  close(): void
}

export function createLaneLog(deps: {
  /** Null: the lane is no longer configured. */
  read: (
    lane: string,
  ) => Promise<Pick<LaneState, 'pausedUntil' | 'pausedReason' | 'breaker' | 'tiers'> | null>
  log: Record<'info' | 'debug', (line: object, message: string) => void>
  lookMs?: number
}): LaneLog {
  const { read, log, lookMs = LOOK_MS } = deps
  /** Lanes and tiers that are unavailable, and the reason; null: not known yet. */
  const shut = new Map<string, string | null>()
  const timers = new Set<NodeJS.Timeout>()
  let isClosed = false

  async function look(key: string, lane: string, tier: ServiceTier): Promise<void> {
    const found = await read(lane)
    const state = tier === STANDARD ? found : found?.tiers.find(({ name }) => name === tier)
    const about = tier === STANDARD ? { lane } : { lane, tier }
    const known = shut.get(key) ?? null
    const reason = state?.pausedReason ?? null
    // A half-open breaker is being tested, so it is neither open nor closed.
    const isOver = reason === null && (known !== BREAKER_OPEN || state?.breaker.state !== 'half_open')
    if (isOver) {
      if (known === BREAKER_OPEN) log.info(about, 'breaker closed')
      else if (known !== null) log.info(about, 'lane open again')
      shut.delete(key)
      return
    }
    if (reason !== null && reason !== known) {
      const until = new Date(state!.pausedUntil!).toISOString()
      if (reason === BREAKER_OPEN) log.info({ ...about, until }, 'breaker opened')
      else log.info({ ...about, reason, until }, 'lane paused')
      shut.set(key, reason)
    }
    lookLater(key, lane, tier)
  }

  function lookLater(key: string, lane: string, tier: ServiceTier): void {
    if (isClosed) return
    const timer = setTimeout(() => {
      timers.delete(timer)
      lookNow(key, lane, tier)
    }, lookMs)
    timer.unref()
    timers.add(timer)
  }

  function lookNow(key: string, lane: string, tier: ServiceTier): void {
    look(key, lane, tier).catch((error) => {
      log.debug({ err: error, lane }, 'looking at a lane')
      lookLater(key, lane, tier)
    })
  }

  return {
    note(lane, tier = STANDARD) {
      const key = JSON.stringify([lane, tier])
      if (shut.has(key)) return
      shut.set(key, null)
      lookNow(key, lane, tier)
    },
    close() {
      isClosed = true
      for (const timer of timers) clearTimeout(timer)
      timers.clear()
    },
  }
}

/** Logs and stores what the lanes of a worker wait for. */
export function openLaneLog(
  { config, log }: ServicesDeps,
  { emitter, fairness, gate, onError }: ReturnType<typeof openStore>,
  closers: Closers,
): void {
  const laneLog = createLaneLog({
    read: async (id) => {
      const lane = resolveLane(config.current(), id)
      return lane && gate.read(lane)
    },
    log,
  })
  closers.add('the log of the lanes', async () => laneLog.close())
  emitter.on('lane.refused', ({ lane, waitingFor }) => {
    if (waitingFor === 'provider_pause') laneLog.note(lane)
    fairness.note(lane, waitingFor).catch((error) => onError(error, 'noting what a lane waits for'))
  })
  emitter.on('tier.shut', ({ lane, tier }) => laneLog.note(lane, tier))
}
