import { expect, test } from 'vitest'
import { chooseTenant } from '../../../dashboard/src/state/choose-tenant.ts'
import { makeTenant } from './overview.ts'

const counts = { scheduled: 0, queued: 0, running: 0, completed: 0, failed: 0, cancelled: 0 }

test('jobs of a status are looked for where most of them are', () => {
  const tenants = [
    makeTenant({ id: 'acme', counts: { ...counts, completed: 9 } }),
    makeTenant({ id: 'birch', counts: { ...counts, failed: 3, completed: 1 } }),
    makeTenant({ id: 'cedar', counts: { ...counts, failed: 3 } }),
  ]
  expect(chooseTenant(tenants, 'failed')).toBe('birch')
  expect(chooseTenant(tenants, '')).toBe('acme')
  expect(chooseTenant(tenants, 'running')).toBe('acme')
  expect(chooseTenant([], 'failed')).toBe('')
})
