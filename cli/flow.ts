/** Reads from the source ahead of the consumer, up to `capacity` items. */
export async function* readAhead<T>(source: AsyncIterable<T>, capacity: number): AsyncGenerator<T> {
  const items: T[] = []
  let state = 'running' as 'running' | 'done' | 'stopped'
  let failure = null as { error: unknown } | null
  let changed = Promise.withResolvers<void>()
  const announce = () => {
    changed.resolve()
    changed = Promise.withResolvers()
  }
  const fill = async () => {
    try {
      for await (const item of source) {
        items.push(item)
        announce()
        while (state === 'running' && items.length >= capacity) await changed.promise
        if (state === 'stopped') return
      }
    } catch (error) {
      failure = { error }
    } finally {
      if (state === 'running') state = 'done'
      announce()
    }
  }
  const filling = fill()
  try {
    for (;;) {
      while (items.length > 0) {
        const item = items.shift()!
        announce()
        yield item
      }
      if (state !== 'running') break
      await changed.promise
    }
    if (failure !== null) throw failure.error
  } finally {
    state = 'stopped'
    announce()
    await filling
  }
}

/** Applies `work` to up to `concurrency` items at once. Yields the results in the order of the source, each as soon as possible. */
export async function* mapInOrder<T, R>(
  source: AsyncIterable<T>,
  concurrency: number,
  work: (item: T) => Promise<R>,
): AsyncGenerator<R> {
  const iterator = source[Symbol.asyncIterator]()
  const pending: Promise<R>[] = []
  let next: Promise<IteratorResult<T>> | null = iterator.next()
  try {
    for (;;) {
      const head = pending[0]
      if (head === undefined && next === null) return
      const takesHead = head !== undefined && (next === null || pending.length >= concurrency)
      const ready = takesHead ? 'head' : await first(next!, head)
      if (ready === 'head') {
        yield await head!
        pending.shift()
        continue
      }
      const { done, value } = await next!
      if (done === true) next = null
      else {
        const result = work(value)
        // The consumer that reaches it gets its error. Until then the rejection must not count as unhandled.
        result.catch(() => {})
        pending.push(result)
        next = iterator.next()
      }
    }
  } finally {
    next?.catch(() => {})
    // Not awaited: a source that is waiting ends by the signal that it was given.
    iterator.return?.().catch(() => {})
  }
}

function first(next: Promise<unknown>, head: Promise<unknown> | undefined): Promise<'next' | 'head'> {
  const arrivals = [next.then(() => 'next' as const)]
  if (head !== undefined) arrivals.push(head.then(() => 'head' as never))
  return Promise.race(arrivals)
}
