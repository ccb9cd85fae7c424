import { describe, expect, it } from 'vitest'
import type { JsonValue } from '../../../lib/json.ts'
import { createDeltaWriter } from '../../../workers/delta-writer.ts'

function open(write: (chunks: JsonValue[]) => Promise<boolean>) {
  const seen = { useless: 0, errors: [] as unknown[] }
  const writer = createDeltaWriter({
    write,
    onUseless: () => seen.useless++,
    onError: (error) => seen.errors.push(error),
  })
  return { writer, seen }
}

describe('delta writer', () => {
  it('writes the first at once, and the next chunks soon after it together', async () => {
    const written: JsonValue[][] = []
    const { writer } = open(async (chunks) => written.push(chunks) > 0)
    writer.push(1)
    await Promise.resolve()
    expect(written).toEqual([[1]])
    writer.push(2)
    writer.push(3)
    expect(written).toEqual([[1]])
    await writer.flush()
    expect(written).toEqual([[1], [2, 3]])
  })

  it('writes by itself when nobody flushes', async () => {
    const first = Promise.withResolvers<JsonValue[]>()
    const second = Promise.withResolvers<JsonValue[]>()
    const { writer } = open(async (chunks) => {
      if (chunks[0] === 'a') first.resolve(chunks)
      else second.resolve(chunks)
      return true
    })
    writer.push('a')
    expect(await first.promise).toEqual(['a'])
    writer.push('b')
    expect(await second.promise).toEqual(['b'])
  })

  it('keeps the order, however long a write takes', async () => {
    const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const written: JsonValue[] = []
    let calls = 0
    const { writer } = open(async (chunks) => {
      await gates[calls++]!.promise
      written.push(...chunks)
      return true
    })
    writer.push(1)
    const first = writer.flush()
    writer.push(2)
    const second = writer.flush()
    gates[1]!.resolve()
    gates[0]!.resolve()
    await Promise.all([first, second])
    expect(written).toEqual([1, 2])
  })

  it('reports when the chunks are not needed any more', async () => {
    const { writer, seen } = open(async () => false)
    writer.push(1)
    await writer.flush()
    expect(seen.useless).toBe(1)
  })

  it('reports a write that failed and goes on with the next', async () => {
    const written: JsonValue[] = []
    const { writer, seen } = open(async (chunks) => {
      if (chunks[0] === 1) throw new Error('away')
      written.push(...chunks)
      return true
    })
    writer.push(1)
    await writer.flush()
    writer.push(2)
    await writer.flush()
    expect(seen.errors).toEqual([new Error('away')])
    expect(written).toEqual([2])
    expect(seen.useless).toBe(0)
  })

  it('holds the stream back while a thousand chunks wait, and lets it go on when they are written or given up', async () => {
    const gate = Promise.withResolvers<boolean>()
    const { writer, seen } = open(() => gate.promise)
    for (let at = 0; at < 999; at++) writer.push(at)
    expect(writer.drained()).toBeNull()
    writer.push(999)
    const drained = writer.drained()
    expect(drained).toBeInstanceOf(Promise)
    gate.reject(new Error('away'))
    await drained
    expect(seen.errors).toHaveLength(2)
    expect(writer.drained()).toBeNull()
  })

  it('flushes at once when nothing waits', async () => {
    let writes = 0
    const { writer } = open(async () => ++writes > 0)
    await writer.flush()
    expect(writes).toBe(0)
  })
})
