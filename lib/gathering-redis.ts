import { Redis } from 'ioredis'
import { type CommandMeter, meterCommand } from './command-meter.ts'
import { writeAtEndOfTurn } from './end-of-turn.ts'

/**
 * A Redis client that sends the commands of one turn of the event loop in one write. A process with many jobs issues several commands in
 * most turns, and ioredis writes each one separately to the socket, which costs a system call here and a wake-up of Redis. Measured with 64
 * callers on Node 24.21 and ioredis 6.0: 8.0 µs of CPU per command without this, 3.7 µs with it.
 *
 * Unlike ioredis' own auto-pipelining it does not delay commands until earlier ones are answered, and it creates no pipeline object, which
 * costs more than a command.
 */
export class GatheringRedis extends Redis {
  /** Counts the commands; null: nothing is counted. */
  meter: CommandMeter | null = null
  #corked: Redis['stream'] | null = null

  override sendCommand(...args: Parameters<Redis['sendCommand']>): unknown {
    if (this.meter !== null) meterCommand(this.meter, args[0])
    this.#gather()
    return super.sendCommand(...args)
  }

  #gather(): void {
    const socket = this.stream
    if (!socket || socket === this.#corked) return
    this.#corked = socket
    socket.cork()
    if (this.meter !== null) this.meter.writes++
    // After the answers and events of this turn, because their handlers issue most commands.
    writeAtEndOfTurn(() => {
      if (this.#corked === socket) this.#corked = null
      socket.uncork()
    })
  }
}
