import { type Signal, signal } from '@preact/signals'

type Message = { kind: 'ask' } | { kind: 'have'; key: string } | { kind: 'forget' }

/** The other tabs of the page. */
export type Channel = {
  post(message: Message): void
  listen(hear: (message: Message) => void): void
}

export type SharedKey = {
  key: Signal<string | null>
  /** By hand: the other tabs that have none take it, or forget theirs. */
  enter(key: string | null): void
}

/**
 * The key of this tab, which the tabs beside it tell one another. It rests in each tab alone, so it is gone when the last of them closes:
 * nothing of it stays on the machine.
 *
 * @param stored what this tab had before it was loaded anew
 * @param channel to the other tabs; null: the browser has none
 * @param onChange told when another tab gave a key, or took it away
 */
export function createSharedKey(deps: {
  stored: Signal<string | null>
  channel: Channel | null
  onChange: () => void
}): SharedKey {
  const { stored: key, channel, onChange } = deps
  /** True after *Forget key*, until one is entered by hand. */
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
