import { expect, test } from 'vitest'
import { createChunkReader } from '../../faults/event-socket.ts'
import { createCommandSplitter } from '../../faults/tap.ts'

const COMMANDS = ['*1\r\n$4\r\nPING\r\n', '*3\r\n$3\r\nSET\r\n$1\r\na\r\n$4\r\n\r\n*1\r\n']

test('commands come one by one and as they were sent, at any cut on their way', () => {
  const text = COMMANDS.join('')
  for (let size = 1; size <= text.length; size++) {
    const split = createCommandSplitter()
    const found: string[] = []
    for (let at = 0; at < text.length; at += size)
      for (const command of split(Buffer.from(text.slice(at, at + size)))) found.push(command.toString())
    expect(found).toEqual(COMMANDS)
  }
})

test('a body in chunks is read to its end, at any cut on its way', () => {
  const text = '5\r\nid: 1\r\n2;name=value\r\n\n\n\r\n0\r\n\r\n'
  for (let size = 1; size <= text.length; size++) {
    let read = ''
    const take = createChunkReader((part) => {
      read += part
    })
    let isOver = false
    for (let at = 0; at < text.length && !isOver; at += size) isOver = take(text.slice(at, at + size))
    expect([read, isOver]).toEqual(['id: 1\n\n', true])
  }
})
