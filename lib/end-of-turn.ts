type Task = () => void

let tasks: Task[] = []
let writes: Task[] = []
let isScheduled = false
let isRunning = false

/**
 * Runs a task at the end of this turn of the event loop, after what came from all sockets was handled. What tasks send leaves in one
 * write right after them, and not a turn later (`writeAtEndOfTurn`).
 */
export function atEndOfTurn(task: Task): void {
  tasks.push(task)
  schedule()
}

/** Runs a task at the end of this turn, after all those of `atEndOfTurn`. */
export function writeAtEndOfTurn(task: Task): void {
  writes.push(task)
  if (!isRunning) schedule()
}

function schedule(): void {
  if (isScheduled) return
  isScheduled = true
  setImmediate(run)
}

function run(): void {
  // Tasks that come from now on are for the next turn.
  isScheduled = false
  isRunning = true
  const due = tasks
  tasks = []
  try {
    for (const task of due) task()
  } finally {
    isRunning = false
    const last = writes
    writes = []
    for (const write of last) write()
  }
}
