import { expect, it } from 'vitest'
import { renderLine } from '../../../batches/render-line.ts'

const render = (outcome: Parameters<typeof renderLine>[2]['outcome'], request: string | null = 'job_1') =>
  renderLine('batch_1', 3, { customId: 'a "quoted" one', request, outcome })

it('writes a result as the answer of its endpoint', () => {
  const text = render({ result: { object: 'list', data: [] } })
  expect(text.endsWith('\n')).toBe(true)
  expect(text.trimEnd()).not.toContain('\n')
  expect(JSON.parse(text)).toEqual({
    id: expect.stringMatching(/^batch_req_[0-9a-f]{32}$/),
    custom_id: 'a "quoted" one',
    response: { status_code: 200, request_id: 'job_1', body: { object: 'list', data: [] } },
    error: null,
  })
})

it('writes a failure that the endpoint would have answered as its answer, and any other beside a null', () => {
  const error = { message: 'No.', type: 'invalid_request_error', param: null, code: null }
  expect(JSON.parse(render({ failure: { status: 400, error } }, null))).toMatchObject({
    response: { status_code: 400, request_id: '', body: { error } },
    error: null,
  })
  expect(JSON.parse(render({ failure: { code: 'batch_expired', message: 'Too late.' } }))).toMatchObject({
    response: null,
    error: { code: 'batch_expired', message: 'Too late.' },
  })
})

it('gives a line the same id at every writing, and no other line of any batch', () => {
  const idOf = (batch: string, index: number) =>
    (
      JSON.parse(renderLine(batch, index, { customId: '', request: null, outcome: { result: {} } })) as {
        id: string
      }
    ).id
  expect(idOf('batch_1', 1)).toBe(idOf('batch_1', 1))
  expect(
    new Set([idOf('batch_1', 1), idOf('batch_1', 2), idOf('batch_2', 1), idOf('batch_1', 11)]).size,
  ).toBe(4)
})
