import fc from 'fast-check'
import { expect, test } from 'vitest'
import { encodeVectors, packVector, shortenFloat, unpackVector } from '../../../providers/vectors.ts'

test('vectors survive packing and unpacking to the last bit of a float32', () => {
  const vectors = fc.array(fc.float({ noNaN: true, noDefaultInfinity: true }), { maxLength: 64 })
  fc.assert(
    fc.property(vectors, (vector) => {
      expect(unpackVector(packVector(vector)).map(Math.fround)).toEqual(vector)
    }),
  )
})

test('a packed vector is little-endian float32', () => {
  expect(Buffer.from(packVector([1, -2]), 'base64')).toEqual(Buffer.from('0000803f000000c0', 'hex'))
})

test('unpacked values print as the shortest decimal below one, and never with more than nine digits', () => {
  expect(unpackVector(packVector([0.1, -0.0069292835, 0.5, 1e-9, 123.456]))).toEqual([
    0.1, -0.0069292835, 0.5, 1e-9, 123.456,
  ])
  fc.assert(
    fc.property(fc.float({ noNaN: true, noDefaultInfinity: true }), (value) => {
      const short = shortenFloat(value)
      expect(Math.fround(short)).toBe(value)
      expect(
        short
          .toString()
          .replace(/e.*|[-.]/g, '')
          .replace(/^0+|0+$/g, '').length,
      ).toBeLessThanOrEqual(9)
    }),
  )
})

test('a body is given the requested format, from either format, and is itself unchanged', () => {
  const floats = { object: 'list', data: [{ object: 'embedding', index: 0, embedding: [0.25, -1] }] }
  const packed = encodeVectors(floats, 'base64')
  expect(packed).toEqual({
    object: 'list',
    data: [{ object: 'embedding', index: 0, embedding: packVector([0.25, -1]) }],
  })
  expect(encodeVectors(packed, 'base64')).toEqual(packed)
  expect(encodeVectors(packed, 'float')).toEqual(floats)
  expect(encodeVectors(floats, 'float')).toEqual(floats)
  expect(floats.data[0]?.embedding).toEqual([0.25, -1])
})
