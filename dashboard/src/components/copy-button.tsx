import { useState } from 'preact/hooks'

/** Copies a text. Absent if the browser offers no clipboard: it offers none to a page served over plain HTTP by another machine. */
export function CopyButton({ text, name, place }: { text: string; name?: string; place?: string }) {
  const [copied, setCopied] = useState<string | null>(null)
  if (navigator.clipboard === undefined) return null
  const word = copied === text ? 'Copied' : 'Copy'
  return (
    <button
      type="button"
      class={`small ${place ?? ''}`}
      aria-label={name === undefined ? undefined : `${word} ${name}`}
      onClick={() => navigator.clipboard.writeText(text).then(() => setCopied(text))}
    >
      {word}
    </button>
  )
}
