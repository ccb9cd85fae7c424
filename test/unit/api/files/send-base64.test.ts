import fc from 'fast-check'
import { expect, test } from 'vitest'
import { encodeBase64 } from '../../../../api/files/send-base64.ts'

test('the base64 of pieces, put together, is that of all bytes, however they are cut, also in one memory', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 8 }), async (pieces) => {
      const memory = Buffer.alloc(40)
      async function* content() {
        for (const piece of pieces) {
          memory.set(piece)
          yield memory.subarray(0, piece.length)
        }
      }
      let text = ''
      for await (const part of encodeBase64(content())) text += part
      expect(text).toBe(Buffer.concat(pieces).toString('base64'))
    }),
  )
})
