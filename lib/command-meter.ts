import type { Command } from 'ioredis'

/** What the connections of one role have sent so far. Plain numbers, for they change thousands of times a second. */
export type CommandMeter = {
  commands: number
  /** Writes to a socket, each with the commands of one turn of the event loop: round trips. */
  writes: number
  /** From sending to the answer, over all commands, ms. */
  waitedMs: number
  /** Commands that ended with an error, time-outs among them. */
  failures: number
}

export function createCommandMeter(): CommandMeter {
  return { commands: 0, writes: 0, waitedMs: 0, failures: 0 }
}

/** Set on a command that is counted: those that wait for a connection, or are sent again, come by more than once. */
const COUNTED = Symbol('counted')

/** Counts a command and the time to its answer. It wraps the command's own callbacks, for a promise would cost more. */
export function meterCommand(meter: CommandMeter, command: Command & { [COUNTED]?: true }): void {
  if (command[COUNTED]) return
  command[COUNTED] = true
  meter.commands++
  const { resolve, reject } = command
  const sentAt = performance.now()
  let isOpen = true // the answer to a command whose time was up may come all the same
  const end = (failures: number) => {
    if (!isOpen) return
    isOpen = false
    meter.waitedMs += performance.now() - sentAt
    meter.failures += failures
  }
  command.resolve = (answer) => {
    end(0)
    resolve(answer)
  }
  command.reject = (error) => {
    end(1)
    reject(error)
  }
}
