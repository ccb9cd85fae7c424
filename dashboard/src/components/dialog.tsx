import type { ComponentChildren } from 'preact'
import { useEffect, useId, useRef, useState } from 'preact/hooks'
import { explain } from '../api.ts'

/** A modal question. Escape and the second button close it; the focus returns to where it was. */
export function Dialog(props: {
  title: string
  /** The label of the button that confirms. */
  action: string
  tone?: 'bad'
  isReady?: boolean
  /** For long texts. */
  isWide?: boolean
  /** The dialog closes when this resolves, and shows its error if it rejects. */
  onConfirm: () => Promise<void>
  onClose: () => void
  children: ComponentChildren
}) {
  const { title, action, tone, isReady = true, isWide = false, onConfirm, onClose, children } = props
  const element = useRef<HTMLDialogElement>(null)
  const titleId = useId()
  const [isBusy, setBusy] = useState(false)
  const [failure, setFailure] = useState<string | null>(null)

  useEffect(() => {
    element.current!.showModal()
    // The cursor of a text that has the focus stands at its end, which would be all that is seen of a long one.
    const { activeElement: field } = document
    if (field instanceof HTMLTextAreaElement) {
      field.setSelectionRange(0, 0)
      field.scrollTop = 0
    }
  }, [])

  // Closes at once instead of waiting for the `close` event: a quick user may have opened the next dialog by the time it fires.
  // It also calls close() before the element is removed, because only close() makes the browser return the focus.
  const leave = () => {
    // The user may have left the dialog while it was busy. Then there is nothing to close.
    if (element.current === null) return
    element.current.close()
    onClose()
  }

  const confirm = async (event: Event) => {
    event.preventDefault()
    setBusy(true)
    setFailure(null)
    try {
      await onConfirm()
      leave()
    } catch (error) {
      setFailure(explain(error))
      setBusy(false)
    }
  }

  return (
    <dialog
      ref={element}
      class={isWide ? 'wide' : undefined}
      aria-labelledby={titleId}
      onCancel={(event) => {
        event.preventDefault()
        leave()
      }}
      onClose={() => {
        if (element.current !== null) onClose()
      }}
    >
      <form onSubmit={confirm}>
        <h2 id={titleId}>{title}</h2>
        {children}
        {failure === null ? null : (
          <p role="alert" class="failure">
            {failure}
          </p>
        )}
        <div class="buttons">
          <button type="button" onClick={leave}>
            Close
          </button>
          <button type="submit" class={tone === 'bad' ? 'danger' : 'primary'} disabled={isBusy || !isReady}>
            {action}
          </button>
        </div>
      </form>
    </dialog>
  )
}
