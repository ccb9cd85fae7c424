import { signal } from '@preact/signals'
import { expect, test } from 'vitest'
import { type Channel, createSharedKey } from '../../../dashboard/src/state/shared-key.ts'

/** Tabs that receive each other's messages at once, each with what it had before it was loaded. */
function openTabs() {
  type Message = Parameters<Parameters<Channel['listen']>[0]>[0]
  const tabs: ((message: Message) => void)[] = []
  return (had: string | null = null) => {
    const changes: (string | null)[] = []
    let own: ((message: Message) => void) | null = null
    const channel: Channel = {
      post(message) {
        for (const other of tabs) if (other !== own) other(message)
      },
      listen(hear) {
        own = hear
        tabs.push(hear)
      },
    }
    const stored = signal(had)
    const tab = createSharedKey({ stored, channel, onChange: () => changes.push(stored.value) })
    return { ...tab, changes }
  }
}

test('a tab without a key takes that of another one, and passes it on', () => {
  const open = openTabs()
  const first = open()
  const second = open()
  first.enter('k1')
  expect(second.changes).toEqual(['k1'])
  expect(open().key.value).toBe('k1')
  // Its own key is not overwritten.
  const own = open('k2')
  second.enter('k3')
  expect([own.key.value, first.key.value]).toEqual(['k2', 'k1'])
})

test('a key that is removed is removed in all tabs, and none takes it again', () => {
  const open = openTabs()
  const tabs = [open('k1'), open(), open()]
  tabs[1]!.enter(null)
  expect(tabs.map(({ key }) => key.value)).toEqual([null, null, null])
  open('k4')
  const late = open()
  expect(late.key.value).toBe('k4')
  expect(tabs.map(({ key }) => key.value)).toEqual([null, null, null])
  // Until a user enters one by hand.
  tabs[0]!.enter('k5')
  expect(tabs[0]!.key.value).toBe('k5')
})

test('without a channel each tab has its own', () => {
  const stored = signal<string | null>(null)
  const tab = createSharedKey({ stored, channel: null, onChange: () => {} })
  tab.enter('k1')
  expect(stored.value).toBe('k1')
})
