import { signal } from '@preact/signals'
import { expect, test } from 'vitest'
import { createSharedKey } from '../../../dashboard/src/state/shared-key.ts'

type Deps = Parameters<typeof createSharedKey>[0]
type Channel = NonNullable<Deps['channel']>

/** Tabs that hear one another at once, each with what it had before it was loaded. */
function openTabs() {
  const channels: Channel[] = []
  return (had: string | null = null) => {
    const changes: (string | null)[] = []
    const channel: Channel = {
      onmessage: null,
      postMessage(data) {
        for (const other of channels) if (other !== channel) other.onmessage?.({ data } as MessageEvent)
      },
    }
    channels.push(channel)
    const stored = signal(had)
    const tab = createSharedKey({ stored, channel, onChange: () => changes.push(stored.value) })
    return { ...tab, changes }
  }
}

test('a tab without a key takes that of another one, and gives it on', () => {
  const open = openTabs()
  const first = open()
  const second = open()
  first.enter('k1')
  expect(second.changes).toEqual(['k1'])
  expect(open().key.value).toBe('k1')
  // Its own is not overwritten.
  const own = open('k2')
  second.enter('k3')
  expect([own.key.value, first.key.value]).toEqual(['k2', 'k1'])
})

test('a key that is forgotten is forgotten by all, and none takes it again', () => {
  const open = openTabs()
  const tabs = [open('k1'), open(), open()]
  tabs[1]!.enter(null)
  expect(tabs.map(({ key }) => key.value)).toEqual([null, null, null])
  open('k4')
  const late = open()
  expect(late.key.value).toBe('k4')
  expect(tabs.map(({ key }) => key.value)).toEqual([null, null, null])
  // Until somebody enters one by hand.
  tabs[0]!.enter('k5')
  expect(tabs[0]!.key.value).toBe('k5')
})

test('without a channel each tab has its own', () => {
  const stored = signal<string | null>(null)
  const tab = createSharedKey({ stored, channel: null, onChange: () => {} })
  tab.enter('k1')
  expect(stored.value).toBe('k1')
})
