import { useState } from 'preact/hooks'
import { explain } from '../api.ts'
import { Dialog } from '../components/dialog.tsx'
import { useApp } from '../state/app.ts'
import { linkToList } from '../state/route.ts'

const pathOf = (id: string) => `/v1/durable/${encodeURIComponent(id)}`

/** Deletes a run with its jobs, after a question. Keys that may not delete see no button. */
export function DeleteRunButton({ id, tenant }: { id: string; tenant: string }) {
  const app = useApp()
  const [isAsked, setAsked] = useState(false)
  const remove = async () => {
    await app.api.json(pathOf(id), { method: 'DELETE', tenant })
    app.notify('good', 'The run is deleted.')
    location.hash = linkToList('durable', { tenant })
  }
  if (!app.may('jobs')) return null
  return (
    <div class="buttons">
      <button type="button" onClick={() => setAsked(true)}>
        Delete…
      </button>
      {isAsked ? (
        <Dialog
          title="Delete this run?"
          action="Delete the run"
          tone="bad"
          onConfirm={remove}
          onClose={() => setAsked(false)}
        >
          <p>
            Its steps, the values of its signals and its jobs are gone for good, and open jobs are cancelled.
            If the function runs again, it starts from the beginning and is paid for again.
          </p>
        </Dialog>
      ) : null}
    </div>
  )
}

/** Sends the value that a step waits for. Keys that may not send see no button. */
export function SendSignalButton(props: { id: string; name: string; tenant: string; onSent: () => void }) {
  const { id, name, tenant, onSent } = props
  const app = useApp()
  const [text, setText] = useState<string | null>(null)
  const send = async () => {
    await app.api.json(`${pathOf(id)}/signals/${encodeURIComponent(name)}`, {
      method: 'POST',
      json: checkJson(text!),
      tenant,
    })
    app.notify('good', `${name} got its signal.`)
    onSent()
  }
  if (!app.may('jobs')) return null
  return (
    <>
      <button
        type="button"
        class="small"
        aria-label={`Send ${name} its signal`}
        onClick={() => setText('true')}
      >
        Send…
      </button>
      {text === null ? null : (
        <Dialog
          title={`Send ${name} its signal?`}
          action="Send the signal"
          onConfirm={send}
          onClose={() => setText(null)}
        >
          <p>The step gets this value once; it cannot be changed later.</p>
          <label>
            Value, as JSON
            <textarea
              class="code"
              rows={4}
              spellcheck={false}
              value={text}
              onInput={(event) => setText(event.currentTarget.value)}
            />
          </label>
        </Dialog>
      )}
    </>
  )
}

/** Returns the text unchanged, because a browser rounds large numbers. Throws if it is not JSON. */
function checkJson(text: string): string {
  try {
    JSON.parse(text)
  } catch (error) {
    throw new Error(`This is not JSON: ${explain(error)}`)
  }
  return text
}
