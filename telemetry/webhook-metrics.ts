import { Counter, Histogram, type Registry } from '@prometheus-io/client'

/** Seconds. */
const ATTEMPT_BUCKETS = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15]
const DELAY_BUCKETS = [0.1, 0.5, 1, 5, 30, 120, 600, 3600, 21_600, 86_400]

/** Metrics of webhook deliveries. */
export function createWebhookMetrics(registry: Registry) {
  const registers = [registry]
  const attempts = new Counter({
    name: 'sluice_webhook_attempts_total',
    help: 'Attempts to deliver a webhook, by outcome.',
    labelNames: ['outcome'] as const,
    registers,
  })
  const duration = new Histogram({
    name: 'sluice_webhook_attempt_duration_seconds',
    help: "Time from sending a webhook to its receiver's answer.",
    buckets: ATTEMPT_BUCKETS,
    registers,
  })
  const delay = new Histogram({
    name: 'sluice_webhook_delay_seconds',
    help: 'Time from the end of a job to the delivery of its webhook.',
    buckets: DELAY_BUCKETS,
    registers,
  })
  return {
    onAttempt(attempt: { outcome: string; latencyMs: number; delayMs: number }): void {
      attempts.inc({ outcome: attempt.outcome })
      duration.observe(attempt.latencyMs / 1000)
      if (attempt.outcome === 'delivered') delay.observe(Math.max(0, attempt.delayMs) / 1000)
    },
  }
}
