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
        This server has tenants, so the page needs a key. That of an administrator shows everything, any other
        one what its tenant has. It is kept in the tabs of this page alone, and is gone when the last of them
        closes.
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
