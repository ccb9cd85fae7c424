import { expect, test } from 'vitest'
import { readUsage } from '../../../providers/answer.ts'

const read = (input: number, output: number) =>
  readUsage({ usage: { prompt_tokens: input, completion_tokens: output } })

test('tokens are whole numbers that can be counted exactly, else they are none', () => {
  expect(read(3.7, 2)).toEqual({ input_tokens: 3, output_tokens: 2, total_tokens: 5 })
  expect(read(1e308, 2)).toBeNull()
  expect(read(-1, 2)).toBeNull()
  expect(read(3, 1e308)).toEqual({ input_tokens: 3, output_tokens: 0, total_tokens: 3 })
})
