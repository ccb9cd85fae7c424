import { useEffect, useRef, useState } from 'preact/hooks'
import { useApp } from '../state/app.ts'

/** Asks for a key, and says why the earlier one was refused. */
export function KeyPrompt() {
  const app = useApp()
  const [text, setText] = useState('')
  const input = useRef<HTMLInputElement>(null)
  useEffect(() => input.current?.focus(), [])
  const connection = app.feed.connection.value
  const isForbidden = connection.kind === 'refused' && connection.status === 403
  const refusal = isForbidden
    ? 'This key is valid, but it may read nothing here.'
    : app.key.value === null
      ? null
      : 'The server does not know this key.'

  return (
    <form
      class="key-prompt panel"
      onSubmit={(event) => {
        event.preventDefault()
        if (text.trim() !== '') app.enterKey(text.trim())
      }}
    >
      <h1>Which key?</h1>
      <p class="muted">
        This server has tenants, so the page needs a key. An administrator’s key shows everything, any other
        key shows its own tenant. Only the open tabs of this page keep the key. It is gone when you close the
        last one.
      </p>
      <label>
        Admin key, or the key of a tenant
        <input
          ref={input}
          type="password"
          name="key"
          autocomplete="off"
          spellcheck={false}
          value={text}
          aria-describedby={refusal === null ? undefined : 'key-refusal'}
          aria-invalid={refusal !== null}
          onInput={(event) => setText(event.currentTarget.value)}
        />
      </label>
      {refusal === null ? null : (
        <p class="failure" role="alert" id="key-refusal">
          {refusal}
        </p>
      )}
      {isForbidden ? (
        <p>
          It may see <a href="#/usage">its own usage</a>.
        </p>
      ) : null}
      <div class="buttons">
        <button type="submit" class="primary">
          Open
        </button>
      </div>
    </form>
  )
}
