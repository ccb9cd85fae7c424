import { useState } from 'preact/hooks'

/** Copies a text. Browsers have no clipboard for pages that come by plain HTTP from elsewhere than this machine: then there is no button. */
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
