import type { JobStatus, Tenant } from '../wire.ts'

/** Whose jobs are meant where no tenant is named: of whoever has most of them. Empty where there are no tenants. */
export function chooseTenant(tenants: readonly Tenant[], status: string): string {
  const count = ({ counts }: Tenant) =>
    status in counts
      ? counts[status as JobStatus]
      : Object.values(counts).reduce((total, number) => total + number, 0)
  return (
    tenants.reduce((most, tenant) => (count(tenant) > count(most) ? tenant : most), tenants[0]!)?.id ?? ''
  )
}
