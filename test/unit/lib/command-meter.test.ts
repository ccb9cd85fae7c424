import { Command } from 'ioredis'
import { expect, test } from 'vitest'
import { createCommandMeter, meterCommand } from '../../../lib/command-meter.ts'

test('a command is counted once, however often it passes, and its time ends with its answer', async () => {
  const meter = createCommandMeter()
  const command = new Command('get', ['key'])
  meterCommand(meter, command)
  meterCommand(meter, command)
  expect(meter).toEqual({ commands: 1, writes: 0, waitedMs: 0, failures: 0 })
  command.resolve(Buffer.from('value'))
  expect(await command.promise).toEqual(Buffer.from('value'))
  expect(meter.waitedMs).toBeGreaterThan(0)
  expect(meter.failures).toBe(0)
})

test('a command that fails is reported, and an answer that comes afterwards does not count', async () => {
  const meter = createCommandMeter()
  const command = new Command('get', ['key'])
  meterCommand(meter, command)
  command.reject(new Error('Command timed out'))
  await expect(command.promise).rejects.toThrow('timed out')
  const { waitedMs } = meter
  command.resolve(Buffer.from('late'))
  expect(meter).toEqual({ commands: 1, writes: 0, waitedMs, failures: 1 })
})
