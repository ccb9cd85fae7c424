import { type Signal, signal } from '@preact/signals'

type Message = { kind: 'ask' } | { kind: 'have'; key: string } | { kind: 'forget' }

/** A channel to the other tabs of the page. */
export type Channel = {
  post(message: Message): void
  listen(hear: (message: Message) => void): void
}

export type SharedKey = {
  key: Signal<string | null>
  /** The user enters or forgets a key. Other tabs without a key take it; if it is null, they forget theirs. */
  enter(key: string | null): void
}

/**
 * The key of this tab, which tabs of one browser share. Each tab keeps it only for its own life, so it is gone when the last tab
 * closes, and nothing of it stays on the machine.
 *
 * @param stored the key that this tab had before it was reloaded
 * @param channel to the other tabs; null: the browser has none
 * @param onChange called when another tab gave a key, or took it away
 */
export function createSharedKey(deps: {
  stored: Signal<string | null>
  channel: Channel | null
  onChange: () => void
}): SharedKey {
  const { stored: key, channel, onChange } = deps
  /** True after *Forget key*, until the user enters a key. */
  const isForgotten = signal(false)
  const tell = (message: Message) => channel?.post(message)

  if (channel !== null) {
    channel.listen((data) => {
      if (data.kind === 'ask') {
        if (key.peek() !== null) tell({ kind: 'have', key: key.peek()! })
      } else if (data.kind === 'forget') {
        if (key.peek() === null) return
        isForgotten.value = true
        key.value = null
        onChange()
      } else if (key.peek() === null && !isForgotten.peek()) {
        key.value = data.key
        onChange()
      }
    })
    if (key.peek() === null) tell({ kind: 'ask' })
  }

  return {
    key,
    enter(next) {
      isForgotten.value = next === null
      key.value = next
      tell(next === null ? { kind: 'forget' } : { kind: 'have', key: next })
    },
  }
}
