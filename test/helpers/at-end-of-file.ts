/**
 * Work of helpers at the end of each test file. Files share processes and their modules. So a hook that a helper
 * registers when it is loaded would run after the first file alone; `fail-on-leaks.ts` is loaded for each.
 */
const tasks: (() => Promise<void>)[] = []

/** Runs the task at the end of this file, and of every other that runs in this process. */
export function atEndOfFile(task: () => Promise<void>): void {
  tasks.push(task)
}

export async function endFile(): Promise<void> {
  for (const task of tasks) await task()
}
