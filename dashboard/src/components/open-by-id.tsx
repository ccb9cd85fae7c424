import { useState } from 'preact/hooks'

/** A field for a known id, with a button that opens its page. */
export function OpenById(props: { label: string; placeholder: string; onOpen: (id: string) => void }) {
  const { label, placeholder, onOpen } = props
  const [id, setId] = useState('')
  return (
    <form
      class="inline"
      onSubmit={(event) => {
        event.preventDefault()
        if (id.trim() !== '') onOpen(id.trim())
      }}
    >
      <input
        type="search"
        aria-label={label}
        placeholder={placeholder}
        value={id}
        onInput={(event) => setId(event.currentTarget.value)}
      />
      <button type="submit">Open</button>
    </form>
  )
}
