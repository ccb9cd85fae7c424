import { useState } from 'preact/hooks'
import { Dialog } from '../components/dialog.tsx'
import { Icon } from '../components/icon.tsx'
import { useApp } from '../state/app.ts'
import type { Lane, Tenant } from '../wire.ts'

const minute = 60_000
const durations = [
  { name: '5 minutes', ms: 5 * minute },
  { name: '15 minutes', ms: 15 * minute },
  { name: '1 hour', ms: 60 * minute },
  { name: '6 hours', ms: 360 * minute },
  { name: 'until somebody resumes it', ms: null },
]

/** The same for the jobs of a tenant, in all lanes. */
export function TenantActions({ tenant }: { tenant: Tenant }) {
  const path = (action: string) => `/v1/tenants/${encodeURIComponent(tenant.id)}/${action}`
  const isPaused = tenant.paused_until !== null
  return <PauseActions target={{ name: tenant.id, isPaused, path, body: null, what: 'of this tenant' }} />
}

/** What is paused: a lane, all lanes of a provider, or a tenant. */
type Target = {
  name: string
  isPaused: boolean
  path: (action: 'pause' | 'resume') => string
  /** Of both requests, besides how long and why. */
  body: object | null
  /** Whose calls: `this lane`. */
  what: string
}

/** The button that pauses a lane, or lets it go on; each asks first. */
export function LaneActions({ lane }: { lane: Lane }) {
  const path = (action: string) => `/v1/lanes/${encodeURIComponent(lane.id)}/${action}`
  return (
    <PauseActions
      target={{
        name: lane.id,
        isPaused: lane.paused_until !== null,
        path,
        body: null,
        what: 'from this lane',
      }}
    />
  )
}

/** The same for all lanes of a provider. */
export function ProviderActions({ provider, isPaused }: { provider: string; isPaused: boolean }) {
  const path = (action: string) => `/v1/lanes/${action}`
  return (
    <PauseActions
      target={{ name: provider, isPaused, path, body: { provider }, what: 'from any lane of this provider' }}
    />
  )
}

function PauseActions({ target }: { target: Target }) {
  const { name, isPaused } = target
  const [isOpen, setOpen] = useState(false)
  const [asked, setAsked] = useState<'pause' | 'resume'>('pause')
  const close = () => setOpen(false)
  if (!useApp().may('admin')) return null
  return (
    <>
      <button
        type="button"
        class="small"
        aria-label={`${isPaused ? 'Resume' : 'Pause'} ${name}`}
        onClick={() => {
          // What was asked stays so, should the lane change while the question stands.
          setAsked(isPaused ? 'resume' : 'pause')
          setOpen(true)
        }}
      >
        <Icon name={isPaused ? 'play' : 'pause'} /> {isPaused ? 'Resume' : 'Pause'}
      </button>
      {!isOpen ? null : asked === 'pause' ? (
        <PauseDialog target={target} onClose={close} />
      ) : (
        <ResumeDialog target={target} onClose={close} />
      )}
    </>
  )
}

function PauseDialog({ target, onClose }: { target: Target; onClose: () => void }) {
  const app = useApp()
  const [choice, setChoice] = useState(1)
  const [reason, setReason] = useState('')
  const { name, ms } = durations[choice]!
  const pause = async () => {
    const body = {
      ...target.body,
      ...(ms === null ? {} : { for_ms: ms }),
      ...(reason.trim() === '' ? {} : { reason: reason.trim() }),
    }
    await app.api.json(target.path('pause'), { method: 'POST', body })
    app.notify('good', `${target.name} is paused ${ms === null ? name : `for ${name}`}.`)
  }
  return (
    <Dialog title={`Pause ${target.name}?`} action="Pause" onConfirm={pause} onClose={onClose}>
      <p>
        No call leaves {target.what}, in any process, until the pause ends. Calls under way go on, and jobs
        that come wait in order.
      </p>
      <label>
        How long
        <select value={choice} onChange={(event) => setChoice(Number(event.currentTarget.value))}>
          {durations.map((duration, index) => (
            <option key={duration.name} value={index}>
              {duration.name}
            </option>
          ))}
        </select>
      </label>
      <label>
        Reason, shown to everybody who looks
        <input
          type="text"
          maxLength={200}
          value={reason}
          placeholder="paused by hand"
          onInput={(event) => setReason(event.currentTarget.value)}
        />
      </label>
    </Dialog>
  )
}

function ResumeDialog({ target, onClose }: { target: Target; onClose: () => void }) {
  const app = useApp()
  const resume = async () => {
    await app.api.json(target.path('resume'), {
      method: 'POST',
      ...(target.body === null ? {} : { body: target.body }),
    })
    app.notify('good', `${target.name} goes on.`)
  }
  return (
    <Dialog title={`Resume ${target.name}?`} action="Resume" onConfirm={resume} onClose={onClose}>
      <p>
        Calls leave again at once, at the rate of their lanes. Should the pause be the provider’s own wish, it
        may answer with 429 again.
      </p>
    </Dialog>
  )
}
