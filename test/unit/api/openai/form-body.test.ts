import { expect, it } from 'vitest'
import { createFormBody } from '../../../../api/openai/form-body.ts'

const MIB = 1024 * 1024

it('lists, objects, numbers and files of a form are those of a JSON body', () => {
  const form = createFormBody(['image', 'mask'], MIB)
  form.addField('prompt', '1')
  form.addField('n', '2')
  form.addField('stream', 'true')
  form.addFile('image[]', 'file-a')
  form.addFile('image[]', 'file-b')
  form.addFile('mask', 'file-c')
  form.addFile('mask', 'file-d')
  form.addField('chunking_strategy[type]', 'server_vad')
  form.addField('chunking_strategy[threshold]', '0.5')
  form.addField('tags[0]', 'x')
  form.addField('x[__proto__]', 'y')
  expect(form.toBody()).toEqual({
    prompt: '1',
    n: 2,
    stream: true,
    image: ['file-a', 'file-b'],
    mask: ['file-c', 'file-d'],
    chunking_strategy: { type: 'server_vad', threshold: 0.5 },
    tags: ['x'],
    x: JSON.parse('{"__proto__":"y"}'),
  })
})

it('the fields of a form are bounded together as a JSON body is', () => {
  const form = createFormBody([], 100)
  form.addField('a', 'x'.repeat(89))
  expect(() => form.addField('b', 'é'.repeat(5))).toThrow(
    expect.objectContaining({ code: 'payload_too_large', message: expect.stringContaining('100 bytes') }),
  )
})

it('a member of a text or of a list is refused with its name, at any length', () => {
  const refusal = expect.objectContaining({ code: 'invalid_request', param: 'prompt' })
  const form = createFormBody([], 32 * MIB)
  form.addField('prompt', 'x'.repeat(MIB))
  for (let at = 0; at < 128; at++) expect(() => form.addField(`prompt[a${at}]`, 'y')).toThrow(refusal)
  form.addField('list[]', 'x')
  expect(() => form.addField('list[a]', 'y')).toThrow(expect.objectContaining({ param: 'list' }))
})
