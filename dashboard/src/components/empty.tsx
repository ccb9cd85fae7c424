import type { ComponentChildren } from 'preact'

/** Shown in place of an empty list: says that it is empty, and what to do. */
export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <p class="empty-title">{title}</p>
      {children}
    </div>
  )
}

/** Shown until the first data arrives. */
export function Loading() {
  return (
    <p class="empty muted" role="status">
      Asking the server…
    </p>
  )
}
