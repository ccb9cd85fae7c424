import { expect, test } from 'vitest'
import { createEmitter } from '../../../lib/emitter.ts'

type Events = { number: number; word: string }

test('an event goes to all listeners of its name, in order, until they stop', () => {
  const events = createEmitter<Events>(() => {})
  const heard: unknown[] = []
  const leave = events.on('number', (number) => heard.push(['first', number]))
  events.on('number', (number) => heard.push(['second', number]))
  events.on('word', (word) => heard.push(['word', word]))
  events.emit('number', 1)
  leave()
  events.emit('number', 2)
  events.emit('word', 'w')
  expect(heard).toEqual([
    ['first', 1],
    ['second', 1],
    ['second', 2],
    ['word', 'w'],
  ])
})

test('a fault in a listener is reported, and reaches neither the emitter nor the next listener', () => {
  const faults: unknown[] = []
  const fault = new Error('no number')
  const events = createEmitter<Events>((error, name) => faults.push([name, error]))
  const heard: number[] = []
  events.on('number', (number) => {
    if (number < 0) throw fault
  })
  events.on('number', (number) => heard.push(number))
  for (const number of [1, -1, 2]) events.emit('number', number)
  expect(heard).toEqual([1, -1, 2])
  expect(faults).toEqual([['number', fault]])
})
