import { useState } from 'preact/hooks'
import { Dialog } from '../components/dialog.tsx'
import { useApp } from '../state/app.ts'
import { linkToJobs } from '../state/route.ts'
import type { Job } from '../wire.ts'
import { EditJobDialog } from './edit-job.tsx'

type Action = 'cancel' | 'retry' | 'delete'

const questions: Record<Action, { title: string; action: string; text: string; done: string }> = {
  cancel: {
    title: 'Cancel this job?',
    action: 'Cancel the job',
    text: 'A waiting job ends at once. The call of a running job is aborted; the provider may still bill what it has done.',
    done: 'The job is cancelled.',
  },
  retry: {
    title: 'Try this job again?',
    action: 'Try again',
    text: 'It returns to its queue with new attempts, and is paid for again.',
    done: 'The job is queued again.',
  },
  delete: {
    title: 'Forget this job?',
    action: 'Forget it',
    text: 'Its request, its result and its events are deleted permanently.',
    done: 'The job is forgotten.',
  },
}

/** The actions that a job's present state allows. */
export function JobActions({
  job,
  tenant,
  onChange,
}: {
  job: Job
  tenant: string | null
  onChange: () => void
}) {
  const app = useApp()
  const [asked, setAsked] = useState<Action | null>(null)
  const [isEditing, setEditing] = useState(false)
  const isOpen = job.status === 'scheduled' || job.status === 'queued' || job.status === 'running'
  const path = `/v1/jobs/${encodeURIComponent(job.id)}`

  const act = async (action: Action) => {
    if (action === 'delete') await app.api.json(path, { method: 'DELETE', tenant })
    else await app.api.json(`${path}/${action}`, { method: 'POST', tenant })
    app.notify('good', questions[action].done)
    if (action === 'delete') location.hash = linkToJobs({ tenant: tenant ?? '' })
    else onChange()
  }

  if (!app.may('jobs')) return null
  return (
    <div class="buttons">
      {isOpen ? (
        <button type="button" onClick={() => setAsked('cancel')}>
          Cancel…
        </button>
      ) : null}
      {job.status === 'failed' || job.status === 'cancelled' ? (
        <button type="button" onClick={() => setAsked('retry')}>
          Try again…
        </button>
      ) : null}
      {isOpen ? null : (
        <button type="button" onClick={() => setEditing(true)}>
          Edit and send…
        </button>
      )}
      <button type="button" onClick={() => setAsked('delete')}>
        Forget…
      </button>
      {isEditing ? <EditJobDialog job={job} tenant={tenant} onClose={() => setEditing(false)} /> : null}
      {asked === null ? null : (
        <Dialog
          title={questions[asked].title}
          action={questions[asked].action}
          {...(asked === 'retry' ? {} : { tone: 'bad' as const })}
          onConfirm={() => act(asked)}
          onClose={() => setAsked(null)}
        >
          <p>{questions[asked].text}</p>
        </Dialog>
      )}
    </div>
  )
}
