import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

test('the unit of systemd starts a role with the configuration, and does not start a faulty one again', () => {
  const unit = readFileSync(new URL('../../../examples/systemd/sluice@.service', import.meta.url), 'utf8')
  expect(unit).toMatch(/^ExecStart=\S+\/node \S+\/main\.ts %i$/m)
  expect(unit).toContain('SLUICE_CONFIG=/etc/sluice/sluice.yaml')
  expect(unit).toMatch(/^RestartPreventExitStatus=78$/m)
  expect(Number(/^TimeoutStopSec=(\d+)$/m.exec(unit)?.[1])).toBeGreaterThan(30)
})
