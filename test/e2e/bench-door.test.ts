import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { DoorResult } from '../../bench/door/result.ts'
import { startProcess } from '../helpers/processes.ts'
import { RUN_VARIABLE } from '../helpers/run-processes.ts'

describe('npm run bench:door', () => {
  it('calls every system in every way and judges the results', { timeout: 120_000 }, async () => {
    const out = await mkdtemp(join(process.env[RUN_VARIABLE] ?? tmpdir(), 'bench-door-'))
    onTestFinished(() => rm(out, { recursive: true, force: true }))
    const bench = await startProcess({
      // The other gateway would have to be fetched.
      args: ['bench/door.ts', '--quick', '--without-portkey', '--concurrency', '4', '--out', out],
      ready: /written: /,
      readyMs: 100_000,
    })
    expect(await bench.exited, bench.output).toEqual({ code: 0, signal: null })

    const files = await readdir(out)
    expect(files.map((file) => file.replace(/^.*\./, '')).sort()).toEqual(['json', 'md'])
    const text = await readFile(join(out, files.find((file) => file.endsWith('.json'))!), 'utf8')
    const { rows, checks }: DoorResult = JSON.parse(text)
    expect(rows).toHaveLength(5 * 4)
    for (const row of rows) expect(row.calls).toBeGreaterThan(0)
    // Without the proxy, only goals that do not need it: the added time alone, and the hits.
    expect(checks).toHaveLength(2)
  })
})
