import { effect, type Signal, signal } from '@preact/signals'

/** A text that is stored in the browser. If the browser denies storage, it lasts only as long as the page. */
export function createStored(storage: () => Storage, name: string): Signal<string | null> {
  const stored = signal(attempt(() => storage().getItem(name)))
  effect(() => {
    const { value } = stored
    attempt(() => (value === null ? storage().removeItem(name) : storage().setItem(name, value)))
  })
  return stored
}

function attempt<Value>(act: () => Value): Value | null {
  try {
    return act()
  } catch {
    return null
  }
}
