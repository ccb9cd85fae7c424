import { useEffect, useState } from 'preact/hooks'
import { Dialog } from '../components/dialog.tsx'
import { countOf } from '../format.ts'
import { useApp } from '../state/app.ts'
import type { JobFilter } from '../state/route.ts'
import type { BulkCancelled, Redriven } from '../wire.ts'

type Action = 'cancel' | 'retry'
type Chosen = Pick<JobFilter, 'tenant' | 'status' | 'lane' | 'group'>

/** As many as the API takes at once. */
const MOST = { cancel: 1_000_000, retry: 100_000 }

const words = {
  cancel: {
    button: 'Cancel these…',
    title: 'Cancel these jobs?',
    action: 'Cancel',
    text: 'They end at once. Calls under way are aborted; what a provider has done by then may still be paid for.',
    done: 'cancelled.',
  },
  retry: {
    button: 'Redrive these…',
    title: 'Redrive these jobs?',
    action: 'Redrive',
    text: 'They go back to their queues with fresh tries, and are paid for again.',
    done: 'queued again.',
  },
} as const

/** What can be done with all jobs that the filter names: open ones are cancelled, failed ones queued again. */
export function BulkActions({ filter }: { filter: Chosen }) {
  const [asked, setAsked] = useState<Action | null>(null)
  const { status } = filter
  const actions: Action[] = []
  if (status === '' || ['scheduled', 'queued', 'running'].includes(status)) actions.push('cancel')
  if (status === 'failed') actions.push('retry')
  return (
    <>
      {actions.map((action) => (
        <button key={action} type="button" onClick={() => setAsked(action)}>
          {words[action].button}
        </button>
      ))}
      {asked === null ? null : <BulkDialog action={asked} filter={filter} onClose={() => setAsked(null)} />}
    </>
  )
}

/** Counts first what the action would change, and says so on its button. */
function BulkDialog(props: { action: Action; filter: Chosen; onClose: () => void }) {
  const { action, filter, onClose } = props
  const app = useApp()
  const [count, setCount] = useState<number | null>(null)
  const [failure, setFailure] = useState<string | null>(null)
  const { tenant, status, lane, group } = filter
  const send = (isDry: boolean) =>
    app.api.json<BulkCancelled & Redriven>(`/v1/jobs/${action}`, {
      method: 'POST',
      tenant,
      body: {
        ...(action === 'cancel' && status !== '' ? { status } : {}),
        ...(lane === '' ? {} : { lane }),
        ...(group === '' ? {} : { group }),
        limit: MOST[action],
        dry_run: isDry,
      },
    })
  useEffect(() => {
    send(true).then(
      ({ matched }) => setCount(matched),
      (error: Error) => setFailure(error.message),
    )
  }, [])
  const confirm = async () => {
    const { cancelled, retried } = await send(false)
    app.notify(
      'good',
      `${countOf((action === 'cancel' ? cancelled : retried) ?? 0, 'job')} ${words[action].done}`,
    )
  }
  const named = [status || (action === 'cancel' ? 'open' : ''), lane, group && `of the group ${group}`]
  return (
    <Dialog
      title={words[action].title}
      action={count === null ? words[action].action : `${words[action].action} ${countOf(count, 'job')}`}
      {...(action === 'cancel' ? { tone: 'bad' as const } : {})}
      isReady={count !== null && count > 0}
      onConfirm={confirm}
      onClose={onClose}
    >
      <p>
        Those of <b>{tenant}</b> that are chosen here: <b>{named.filter(Boolean).join(', ')}</b>.{' '}
        {words[action].text}
      </p>
      <p role="status">
        {failure ??
          (count === null ? 'Counting…' : `${countOf(count, 'job')} ${count === 1 ? 'matches' : 'match'}.`)}
      </p>
    </Dialog>
  )
}
