import type { Fetch } from '../../../client/index.ts'

export async function collect<T>(source: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = []
  for await (const item of source) items.push(item)
  return items
}

/** The real fetch, but the connection breaks after so many bytes of each answer to the path. */
export function cutAfter(bytes: number, path: string): Fetch & { cuts: number } {
  const cutting = Object.assign(
    async (input: string, init?: RequestInit) => {
      const response = await fetch(input, init)
      if (!input.includes(path) || response.body === null) return response
      let left = bytes
      const cut = new TransformStream<Uint8Array, Uint8Array>({
        transform(chunk, controller) {
          controller.enqueue(chunk.subarray(0, left))
          left -= chunk.length
          if (left > 0) return
          cutting.cuts++
          controller.error(new Error('the connection broke'))
        },
      })
      return new Response(response.body.pipeThrough(cut), response)
    },
    { cuts: 0 },
  )
  return cutting
}
