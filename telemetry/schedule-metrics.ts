import { Counter, Histogram, type Registry } from '@prometheus-io/client'
import type { LabelBounds } from './label-bound.ts'

/** Seconds. */
const DELAY_BUCKETS = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600]

/** Metrics of schedules' slots, as decided by the maintainer. */
export function createScheduleMetrics(registry: Registry, bounds: LabelBounds) {
  const registers = [registry]
  const slots = new Counter({
    name: 'sluice_schedule_slots_total',
    help: 'Slots of schedules, by outcome.',
    labelNames: ['tenant', 'outcome'] as const,
    registers,
  })
  const delay = new Histogram({
    name: 'sluice_schedule_delay_seconds',
    help: 'Time from a slot to the creation of its job or flow.',
    buckets: DELAY_BUCKETS,
    registers,
  })
  return {
    onSlot(slot: { tenant: string; outcome: string; lateMs: number }): void {
      slots.inc({ tenant: bounds.tenant(slot.tenant), outcome: slot.outcome })
      if (slot.outcome === 'created') delay.observe(slot.lateMs / 1000)
    },
  }
}
