import type { ComponentChildren } from 'preact'
import { useEffect, useId, useRef, useState } from 'preact/hooks'
import { explain } from '../api.ts'

/** A modal question. Escape and the other button close it; focus goes back to where it was. */
export function Dialog(props: {
  title: string
  /** The word on the button that does it. */
  action: string
  tone?: 'bad'
  isReady?: boolean
  /** For long texts. */
  isWide?: boolean
  /** Closes when it is done; what it throws is shown. */
  onConfirm: () => Promise<void>
  onClose: () => void
  children: ComponentChildren
}) {
  const { title, action, tone, isReady = true, isWide = false, onConfirm, onClose, children } = props
  const element = useRef<HTMLDialogElement>(null)
  const titleId = useId()
  const [isBusy, setBusy] = useState(false)
  const [failure, setFailure] = useState<string | null>(null)

  useEffect(() => element.current!.showModal(), [])

  // At once, and not by the event of its end, which comes later: who is quick may have asked the next question by then. The
  // browser gives the focus back when it closes, not when it is taken away open.
  const leave = () => {
    // One that was left already while it was busy has nothing left to close.
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
