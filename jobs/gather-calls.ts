import { atEndOfTurn } from '../lib/end-of-turn.ts'
import { isRedisUnavailable } from '../lib/redis.ts'

export type GatherOptions<Item, Answer> = {
  /** Items with the same key may travel together. */
  keyOf(item: Item): string
  /** One script for these items, which share a key; answers in their order. */
  run(items: readonly Item[]): Promise<readonly Answer[]>
  /** Most items of one script, so that none holds Redis for long. */
  most: number
  /** How large an item is, and how much one script may take; without it their number alone counts. */
  size?: { of(item: Item): number; most: number }
  /**
   * What travels together: what comes before the program waits for anything else (`tick`), at no delay, or what comes
   * within one turn of the event loop (`turn`), from several sockets.
   */
  within: 'tick' | 'turn'
}

/**
 * Lets items of one moment travel in one script, and answers each by itself. Where a script fails for another reason than
 * the state of Redis, each of its items is sent alone: what fails one of them fails no other. So scripts have to be such
 * that may be sent twice.
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
