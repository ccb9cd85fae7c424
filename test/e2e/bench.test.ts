import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { BenchResult } from '../../bench/result.ts'
import { startProcess } from '../helpers/processes.ts'
import { RUN_VARIABLE } from '../helpers/run-processes.ts'

/** The goals of docs/performance.md, in bulk. */
const MOST_SCRIPT_CALLS = 4.5
const MOST_COMMANDS = 55

/** If each job comes alone, nothing travels together, and the idle looks of the rest of the second count as well. */
const MOST_SCRIPT_CALLS_ALONE = 16

describe('npm run bench', () => {
  it('compares the three systems, and Sluice stays within its script calls a job', {
    timeout: 120_000,
  }, async () => {
    const out = await mkdtemp(join(process.env[RUN_VARIABLE] ?? tmpdir(), 'bench-'))
    onTestFinished(() => rm(out, { recursive: true, force: true }))
    const bench = await startProcess({
      args: ['bench/run.ts', '--quick', '--out', out],
      ready: /written: /,
      readyMs: 100_000,
    })
    expect(await bench.exited, bench.output).toEqual({ code: 0, signal: null })

    const files = await readdir(out)
    expect(files.map((file) => file.replace(/^.*\./, '')).sort()).toEqual(['json', 'md'])
    const text = await readFile(join(out, files.find((file) => file.endsWith('.json'))!), 'utf8')
    const { systems, latency, embeddings, machine }: BenchResult = JSON.parse(text)
    expect(machine.redis).toMatch(/^\d+\.\d+/)
    expect(machine.packages).toMatchObject({
      openai: expect.stringMatching(/^\d/),
      bullmq: expect.any(String),
    })
    for (const system of Object.values(systems)) expect(system.jobsPerSecond).toBeGreaterThan(0)
    expect(systems.sluice.perJob.scriptCalls).toBeLessThanOrEqual(MOST_SCRIPT_CALLS)
    expect(systems.sluice.perJob.commands).toBeLessThanOrEqual(MOST_COMMANDS)
    expect(latency.sluice.scriptCalls).toBeLessThanOrEqual(MOST_SCRIPT_CALLS_ALONE)
    expect(embeddings.providerRequests).toBeLessThan(embeddings.jobs / 10)
    // Every script that Sluice sends has a name; one without would be a file that the bench does not know.
    const unnamed = systems.sluice.commandsPerJob.filter(({ name }) => name.startsWith('script '))
    expect(unnamed).toEqual([])
  })
})
