import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { AgentsReport } from '../../bench/agents/report.ts'
import { startProcess } from '../helpers/processes.ts'
import { RUN_VARIABLE } from '../helpers/run-processes.ts'

describe('npm run bench:agents', () => {
  it('agents that stop at the first error complete behind Sluice, and not without it', {
    timeout: 120_000,
  }, async () => {
    const out = await mkdtemp(join(process.env[RUN_VARIABLE] ?? tmpdir(), 'bench-agents-'))
    onTestFinished(() => rm(out, { recursive: true, force: true }))
    const bench = await startProcess({
      args: ['bench/agents.ts', '--scenario', 'replay-11', '--scale', '60', '--out', out],
      ready: /written: /,
      readyMs: 100_000,
    })
    expect(await bench.exited, bench.output).toEqual({ code: 0, signal: null })
    const files = await readdir(out)
    const text = await readFile(join(out, files.find((file) => file.endsWith('.json'))!), 'utf8')
    const [result] = (JSON.parse(text) as AgentsReport).results
    expect(result?.direct.died).toBeGreaterThan(0)
    // Eight turns each: no agent left early.
    expect(result?.sluice).toMatchObject({ agents: 11, died: 0, calls: 88, wastedTokens: 0 })
  })
})
