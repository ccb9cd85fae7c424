import { atEndOfTurn } from '../lib/end-of-turn.ts'
import { isRedisUnavailable } from '../lib/redis.ts'

export type GatherOptions<Item, Answer> = {
  /** Items with the same key may share a script. */
  keyOf(item: Item): string
  /** One script for these items, which share a key. Returns their answers in their order. */
  run(items: readonly Item[]): Promise<readonly Answer[]>
  /** Most items of one script, so that no script holds Redis for long. */
  most: number
  /** The size of an item, and the largest sum of sizes in one script; absent: only their number counts. */
  size?: { of(item: Item): number; most: number }
  /**
   * Which items share a script: those that arrive before the program waits for anything else (`tick`, no delay), or
   * those that arrive in one turn of the event loop, from several sockets (`turn`).
   */
  within: 'tick' | 'turn'
}

/**
 * Sends items of one moment in one script, and answers each by itself. If a script fails for any reason but the state
 * of Redis, each of its items is sent alone, so that an item that fails does not fail the others. So only scripts that
 * may be sent twice can be used.
 */
export function gatherCalls<Item, Answer>(
  options: GatherOptions<Item, Answer>,
): (item: Item) => Promise<Answer> {
  type Waiting = { item: Item; resolve(answer: Answer): void; reject(error: unknown): void }
  const { keyOf, size, most } = options
  let gathered = new Map<string, Waiting[]>()
  const schedule = options.within === 'tick' ? process.nextTick : atEndOfTurn

  async function send(group: readonly Waiting[]): Promise<void> {
    try {
      const answers = await options.run(group.map(({ item }) => item))
      for (const [index, { resolve }] of group.entries()) resolve(answers[index]!)
    } catch (error) {
      if (group.length === 1 || isRedisUnavailable(error)) for (const { reject } of group) reject(error)
      else for (const one of group) send([one])
    }
  }

  function* split(group: readonly Waiting[]): Iterable<Waiting[]> {
    let part: Waiting[] = []
    let total = 0
    for (const one of group) {
      const own = size?.of(one.item) ?? 0
      if (part.length > 0 && (part.length === most || (size && total + own > size.most))) {
        yield part
        part = []
        total = 0
      }
      part.push(one)
      total += own
    }
    yield part
  }

  function flush(): void {
    const groups = gathered
    gathered = new Map()
    for (const group of groups.values()) for (const part of split(group)) send(part)
  }

  return (item) =>
    new Promise((resolve, reject) => {
      if (gathered.size === 0) schedule(flush)
      const key = keyOf(item)
      const group = gathered.get(key)
      const one = { item, resolve, reject }
      if (group) group.push(one)
      else gathered.set(key, [one])
    })
}
