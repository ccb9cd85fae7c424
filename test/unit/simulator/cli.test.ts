import { expect, test } from 'vitest'
import { runSimulator, simulatorOptionsFromArgs } from '../../../simulator/cli.ts'

test('the command line becomes options', () => {
  const args =
    '--port 0 --rpm 1800 --tpm 180000 --latency 200 --enforcement window --fault 500:rate=0.1 --model a'
  expect(simulatorOptionsFromArgs(args.split(' '))).toMatchObject({
    port: 0,
    host: '127.0.0.1',
    options: {
      limits: { requests_per_minute: 1800, tokens_per_minute: 180_000 },
      enforcement: 'window',
      latencyMs: 200,
      faults: [{ kind: '500', rate: 0.1 }],
      models: ['a'],
    },
  })
})

test.each([
  ['--rpm', 'fast'],
  ['--enforcement', 'none'],
  ['--limits-like', 'nobody'],
  ['--token-counting', 'words'],
  ['--fault', 'melt'],
  ['--family', 'opus'],
  ['--family', 'opus=a:cpm=3'],
  ['--key', ':rpm=3'],
  ['--key', 'a:rpm=many'],
  ['--unknown', '1'],
])('%s %s is refused', (name, value) => {
  expect(() => simulatorOptionsFromArgs([name, value])).toThrow(TypeError)
})

test('help is printed and nothing started; else one line says where it listens', async () => {
  const printed: string[] = []
  const help = await runSimulator(['--help'], (text) => printed.push(text))
  expect(help.url).toBeNull()
  expect(printed.join('')).toContain('--rpm')
  const running = await runSimulator(['--port', '0'], (text) => printed.push(text))
  expect(printed.at(-1)).toBe(`simulator: ${running.url}\n`)
  expect((await fetch(`${running.url}/models`)).status).toBe(200)
  await running.close()
})
