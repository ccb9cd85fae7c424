import { useEffect, useState } from 'preact/hooks'
import { Dialog } from '../components/dialog.tsx'
import { countOf } from '../format.ts'
import { useApp } from '../state/app.ts'
import { type BulkAction, findUnsupported, type JobFilter } from '../state/job-filter.ts'
import type { BulkCancelled, Redriven } from '../wire.ts'

/** The most jobs that the API takes in one request, for each tenant. */
const MOST = { cancel: 1_000_000, retry: 100_000 }

const words = {
  cancel: {
    button: 'Cancel these…',
    title: 'Cancel these jobs?',
    action: 'Cancel',
    text: 'They end at once. Running calls are aborted; the provider may still bill what it has done.',
    done: 'cancelled.',
  },
  retry: {
    button: 'Redrive these…',
    title: 'Redrive these jobs?',
    action: 'Redrive',
    text: 'They return to their queues with new attempts, and are paid for again.',
    done: 'queued again.',
  },
} as const

/** Actions on all jobs of these tenants that match the filter: cancel open ones, queue failed ones again. */
export function BulkActions({ filter, tenants }: { filter: JobFilter; tenants: string[] }) {
  const app = useApp()
  const [asked, setAsked] = useState<BulkAction | null>(null)
  const { status } = filter
  const actions: BulkAction[] = []
  if (status === '' || ['scheduled', 'queued', 'running'].includes(status)) actions.push('cancel')
  if (status === 'failed') actions.push('retry')
  if (!app.may('jobs') || tenants.length === 0) return null
  return (
    <>
      {actions.map((action) => {
        const unsupported = findUnsupported(action, filter)
        return (
          <button
            key={action}
            type="button"
            disabled={unsupported.length > 0}
            title={
              unsupported.length > 0
                ? `It cannot be narrowed by ${unsupported.join(' or ')}: it would take more jobs than are shown.`
                : undefined
            }
            onClick={() => setAsked(action)}
          >
            {words[action].button}
          </button>
        )
      })}
      {asked === null ? null : (
        <BulkDialog action={asked} filter={filter} tenants={tenants} onClose={() => setAsked(null)} />
      )}
    </>
  )
}

/** Counts the jobs that the action would change before it runs, and shows the count on its button. */
function BulkDialog(props: {
  action: BulkAction
  filter: JobFilter
  tenants: string[]
  onClose: () => void
}) {
  const { action, filter, tenants, onClose } = props
  const app = useApp()
  const [count, setCount] = useState<number | null>(null)
  const [failure, setFailure] = useState<string | null>(null)
  const { status, lane, group, error, from, to } = filter
  const body = {
    ...(lane === '' ? {} : { lane }),
    ...(group === '' ? {} : { group }),
    ...(action === 'cancel'
      ? {
          ...(status === '' ? {} : { status }),
          ...(from === '' ? {} : { created_after: from }),
          ...(to === '' ? {} : { created_before: to }),
        }
      : error === ''
        ? {}
        : { error_code: error }),
    limit: MOST[action],
  }
  /** Sends one request after the other, one for each tenant. Returns the number of jobs. */
  const send = async (isDry: boolean) => {
    let jobs = 0
    for (const tenant of tenants) {
      const answer = await app.api.json<BulkCancelled & Redriven>(`/v1/jobs/${action}`, {
        method: 'POST',
        tenant,
        body: { ...body, dry_run: isDry },
      })
      jobs += (isDry ? answer.matched : action === 'cancel' ? answer.cancelled : answer.retried) ?? 0
    }
    return jobs
  }
  useEffect(() => {
    send(true).then(setCount, (error: Error) => setFailure(error.message))
  }, [])
  const confirm = async () => {
    app.notify('good', `${countOf(await send(false), 'job')} ${words[action].done}`)
  }
  const named = [
    status || (action === 'cancel' ? 'open' : ''),
    lane,
    group && `of the group ${group}`,
    error,
    from && `created from ${from}`,
    to && `created before ${to}`,
  ]
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
        Those of <b>{tenants.length === 1 ? tenants[0] : `all ${tenants.length} tenants`}</b> that are chosen
        here: <b>{named.filter(Boolean).join(', ')}</b>. {words[action].text}
      </p>
      <p role="status">
        {failure ??
          (count === null ? 'Counting…' : `${countOf(count, 'job')} ${count === 1 ? 'matches' : 'match'}.`)}
      </p>
    </Dialog>
  )
}
