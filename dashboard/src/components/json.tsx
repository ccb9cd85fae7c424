import { useMemo, useState } from 'preact/hooks'
import { formatCount } from '../format.ts'
import { splitJson } from '../json-tokens.ts'
import { CopyButton } from './copy-button.tsx'

/** Limits in characters. A text over the first starts folded, one over the second is not coloured, one over the third is cut until you ask for all of it. */
const FOLDED = 4_000
const COLOURED = 60_000
const SHOWN = 200_000

/** A JSON value, indented. */
export function Json({ name, value }: { name: string; value: unknown }) {
  const text = useMemo(() => JSON.stringify(value, null, 2), [value])
  const [isOpen, setOpen] = useState(text.length <= FOLDED)
  return (
    <details class="json" open={isOpen} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>
        {name} <span class="muted num">{formatCount(text.length)} characters</span>
      </summary>
      {isOpen ? <Body name={name} text={text} /> : null}
    </details>
  )
}

function Body({ name, text }: { name: string; text: string }) {
  const [isWhole, setWhole] = useState(false)
  const shown = isWhole ? text : text.slice(0, SHOWN)
  return (
    <>
      <CopyButton text={text} place="copy" />
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reachable by keys */}
      <section class="json-body" tabIndex={0} aria-label={name}>
        <pre>
          {shown.length > COLOURED
            ? shown
            : splitJson(shown).map(({ kind, text: part }, index) =>
                kind === 'mark' ? (
                  part
                ) : (
                  <span key={index} class={`json-${kind}`}>
                    {part}
                  </span>
                ),
              )}
        </pre>
      </section>
      {shown.length < text.length ? (
        <button type="button" class="small" onClick={() => setWhole(true)}>
          Show all {formatCount(text.length)} characters
        </button>
      ) : null}
    </>
  )
}
