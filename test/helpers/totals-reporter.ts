import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { relative } from 'node:path'
import type { Reporter, TestModule } from 'vitest/node'

type Totals = { passed: number; failed: number; skipped: number; pending: number }

/** What `scripts/bootstrap.mjs` reads of a whole run: the files that failed, and what the others came to. */
type Report = { failed: string[]; others: Totals }

const none = (): Totals => ({ passed: 0, failed: 0, skipped: 0, pending: 0 })

/**
 * Ends a run with `N passed, N failed, N skipped` alone on a line, for programs that read the output. With a path in
 * `SLUICE_TEST_REPORT` it writes the report there. A run of the files that failed in a run before adds its totals to those of the others.
 * It reads both variables now: the global setup hides them from the tests.
 */
export function createTotalsReporter(env: NodeJS.ProcessEnv = process.env): Reporter {
  const { SLUICE_TEST_REPORT: path, SLUICE_TEST_IS_AGAIN: again } = env
  return {
    onTestRunEnd(modules, unhandledErrors, reason) {
      const isAgain = again === '1' && path !== undefined && existsSync(path)
      const totals = isAgain ? (JSON.parse(readFileSync(path, 'utf8')) as Report).others : none()
      totals.failed += unhandledErrors.length
      for (const module of modules) add(totals, module)
      if (path !== undefined && !isAgain) {
        const isFailed = (module: TestModule) => module.state() === 'failed'
        const others = none()
        for (const module of modules) if (!isFailed(module)) add(others, module)
        // An error outside of tests belongs to no file. A run that was interrupted is not run again.
        const failed =
          unhandledErrors.length > 0 || reason === 'interrupted'
            ? []
            : modules.filter(isFailed).map(({ moduleId }) => relative(process.cwd(), moduleId))
        writeFileSync(path, JSON.stringify({ failed, others } satisfies Report))
      }
      const notRun = totals.skipped + totals.pending
      console.log(`${totals.passed} passed, ${totals.failed} failed, ${notRun} skipped`)
    },
  }
}

function add(totals: Totals, module: TestModule): void {
  // A file that could not be collected has no tests that could fail.
  if (module.state() === 'failed' && module.errors().length > 0) totals.failed++
  for (const test of module.children.allTests()) totals[test.result().state]++
}
