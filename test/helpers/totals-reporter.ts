import type { Reporter } from 'vitest/node'

/** Ends a run with a line `N passed, N failed, N skipped`, for programs that read the output. */
export function createTotalsReporter(): Reporter {
  return {
    onTestRunEnd(modules, unhandledErrors) {
      const totals = { passed: 0, failed: unhandledErrors.length, skipped: 0, pending: 0 }
      for (const module of modules) {
        // A file that could not be loaded has no tests that could fail.
        if (module.state() === 'failed' && module.errors().length > 0) totals.failed++
        for (const test of module.children.allTests()) totals[test.result().state]++
      }
      const notRun = totals.skipped + totals.pending
      console.log(`${totals.passed} passed, ${totals.failed} failed, ${notRun} skipped`)
    },
  }
}
