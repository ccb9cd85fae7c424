import type { JobStatus, Tenant } from '../wire.ts'

/** Whose jobs to show if no tenant is named: those of the tenant that has the most. Empty if there are no tenants. */
export function chooseTenant(tenants: readonly Tenant[], status: string): string {
  const count = ({ counts }: Tenant) =>
    status in counts
      ? counts[status as JobStatus]
      : Object.values(counts).reduce((total, number) => total + number, 0)
  return (
    tenants.reduce((most, tenant) => (count(tenant) > count(most) ? tenant : most), tenants[0]!)?.id ?? ''
  )
}
