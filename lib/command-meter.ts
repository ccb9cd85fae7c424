import type { Command } from 'ioredis'

/** Counts of the commands that the connections of one role have sent. Plain numbers, because they change thousands of times per second. */
export type CommandMeter = {
  commands: number
  /** Writes to a socket (round trips). Each holds the commands of one turn of the event loop. */
  writes: number
  /** Time from sending to the answer, over all commands, ms. */
  waitedMs: number
  /** Commands that ended with an error, including timeouts. */
  failures: number
}

export function createCommandMeter(): CommandMeter {
  return { commands: 0, writes: 0, waitedMs: 0, failures: 0 }
}

/** Marks a counted command. Commands that wait for a connection or are sent again pass here more than once. */
const COUNTED = Symbol('counted')

/** Counts a command and the time to its answer. It wraps the command's own callbacks, because a promise would cost more. */
export function meterCommand(meter: CommandMeter, command: Command & { [COUNTED]?: true }): void {
  if (command[COUNTED]) return
  command[COUNTED] = true
  meter.commands++
  const { resolve, reject } = command
  const sentAt = performance.now()
  let isOpen = true // the answer to a command that timed out may still arrive
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
