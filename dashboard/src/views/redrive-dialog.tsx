import { useRef, useState } from 'preact/hooks'
import { Dialog } from '../components/dialog.tsx'
import { DryRun } from '../components/dry-run.tsx'
import { countOf } from '../format.ts'
import { useApp } from '../state/app.ts'
import type { Failure, RedriveFilter, Redriven } from '../wire.ts'

/** The most jobs that the API takes in one request. */
const MOST = 100_000

/** Queues failed jobs of one kind again, after a dry run has counted them. */
export function RedriveDialog(props: { failure: Failure; onClose: () => void }) {
  const { failure, onClose } = props
  const app = useApp()
  const { tenant, lane, code, retryable } = failure
  const [limit, setLimit] = useState('')
  const [group, setGroup] = useState('')
  const [tried, setTried] = useState<Redriven | null>(null)
  const tries = useRef(0)

  const redrive = (isDry: boolean) => {
    const body: RedriveFilter = {
      lane,
      error_code: code,
      ...(group.trim() === '' ? {} : { group: group.trim() }),
      limit: limit === '' ? MOST : Number(limit),
      dry_run: isDry,
    }
    return app.api.json<Redriven>('/v1/jobs/retry', { method: 'POST', body, tenant })
  }
  // A dry run counts for one filter. After a change of the filter, a late answer must not show.
  const forget = () => {
    tries.current++
    setTried(null)
  }
  const tryOut = async () => {
    const number = ++tries.current
    const counted = await redrive(true)
    if (number === tries.current) setTried(counted)
  }
  const confirm = async () => {
    const { retried } = await redrive(false)
    app.notify('good', `${countOf(retried, 'job')} queued again.`)
  }
  const count = tried?.matched ?? 0

  return (
    <Dialog
      title="Redrive failed jobs?"
      action={tried === null ? 'Redrive' : `Redrive ${countOf(count, 'job')}`}
      isReady={count > 0}
      onConfirm={confirm}
      onClose={onClose}
    >
      <p>
        Jobs of <b>{tenant}</b> that failed in <b>{lane}</b> with <code>{code}</code> return to their queue
        with new attempts, and are paid for again.
      </p>
      {retryable ? null : (
        <p class="why warn">
          This error rarely goes away by itself. Fix its cause first, or the jobs fail again.
        </p>
      )}
      <div class="pair">
        <label>
          Only of the group
          <input
            type="text"
            value={group}
            placeholder="any group"
            onInput={(event) => {
              setGroup(event.currentTarget.value)
              forget()
            }}
          />
        </label>
        <label>
          At most, the oldest first
          <input
            type="number"
            min={1}
            max={MOST}
            value={limit}
            placeholder="all"
            onInput={(event) => {
              setLimit(event.currentTarget.value)
              forget()
            }}
          />
        </label>
      </div>
      <DryRun tried={tried} onTry={tryOut} />
    </Dialog>
  )
}
