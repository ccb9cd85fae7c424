import { useState } from 'preact/hooks'
import { Dialog } from '../components/dialog.tsx'
import { Icon } from '../components/icon.tsx'
import { countOf } from '../format.ts'
import { useApp } from '../state/app.ts'
import type { ProviderTrouble } from '../state/impact.ts'
import { hasLastingPause } from '../state/lane-health.ts'
import type { Lane, Tenant } from '../wire.ts'

const minute = 60_000
const durations = [
  { name: '5 minutes', ms: 5 * minute },
  { name: '15 minutes', ms: 15 * minute },
  { name: '1 hour', ms: 60 * minute },
  { name: '6 hours', ms: 360 * minute },
  { name: 'until somebody resumes it', ms: null },
]

/** The buttons that pause or resume a tenant, in all lanes. */
export function TenantActions({ tenant }: { tenant: Tenant }) {
  const path = (action: Change) => `/v1/tenants/${encodeURIComponent(tenant.id)}/${action}`
  const changes: Change[] = [tenant.paused_until === null ? 'pause' : 'resume']
  return <PauseActions target={{ name: tenant.id, changes, path, body: null, what: 'of this tenant' }} />
}

type Change = 'pause' | 'resume'

/** What a button pauses or resumes: a lane, several lanes of a provider, a whole provider, or a tenant. */
type Target = {
  name: string
  /** Follows the action on the button, if the action alone would be unclear. */
  many?: string
  /** The actions that the present state allows. */
  changes: readonly Change[]
  path: (action: Change) => string
  /** Fields of both requests, besides duration and reason. */
  body: object | null
  /** For the question: whose calls stop, such as `this lane`. */
  what: string
}

/** While a breaker pauses a lane for moments, you can pause it for longer as well as resume it at once. */
function changesOf(lanes: readonly Lane[]): Change[] {
  const isPaused = lanes.some((lane) => lane.paused_until !== null)
  if (!isPaused) return ['pause']
  return lanes.some(hasLastingPause) ? ['resume'] : ['pause', 'resume']
}

/** The buttons that pause or resume a lane. Each asks for confirmation. */
export function LaneActions({ lane }: { lane: Lane }) {
  const path = (action: Change) => `/v1/lanes/${encodeURIComponent(lane.id)}/${action}`
  const changes = changesOf([lane])
  return <PauseActions target={{ name: lane.id, changes, path, body: null, what: 'from this lane' }} />
}

/** The same for a provider's lanes in the same trouble. If all its lanes are, one request takes the whole provider. */
export function TroubleActions({ trouble }: { trouble: ProviderTrouble }) {
  const { provider, lanes, activeLanes } = trouble
  const path = (action: Change) => `/v1/lanes/${action}`
  const changes = changesOf(lanes)
  const target: Target =
    lanes.length === activeLanes
      ? { name: provider, changes, path, body: { provider }, what: 'from any lane of this provider' }
      : {
          name: `${countOf(lanes.length, 'lane')} of ${provider}`,
          many: countOf(lanes.length, 'lane'),
          ...{ changes, path },
          body: { lanes: lanes.map(({ id }) => id) },
          what: `from these lanes: ${lanes.map(({ id }) => id).join(', ')}`,
        }
  return <PauseActions target={target} />
}

const words = {
  pause: { name: 'Pause', icon: 'pause' },
  resume: { name: 'Resume', icon: 'play' },
} as const

function PauseActions({ target }: { target: Target }) {
  // Keeps the target of the open question even if the lanes change meanwhile.
  const [asked, setAsked] = useState<{ change: Change; target: Target } | null>(null)
  const close = () => setAsked(null)
  if (!useApp().may('admin')) return null
  return (
    <span class="actions">
      {target.changes.map((change, place) => (
        <button
          // A key by place keeps the focus when the button changes from pause to resume.
          key={`place ${place}`}
          type="button"
          class="small"
          aria-label={`${words[change].name} ${target.name}`}
          onClick={() => setAsked({ change, target })}
        >
          <Icon name={words[change].icon} /> {words[change].name}
          {target.many === undefined ? '' : ` ${target.many}`}
        </button>
      ))}
      {asked === null ? null : asked.change === 'pause' ? (
        <PauseDialog target={asked.target} onClose={close} />
      ) : (
        <ResumeDialog target={asked.target} onClose={close} />
      )}
    </span>
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
    const are = target.many === undefined ? 'is' : 'are'
    app.notify('good', `${target.name} ${are} paused ${ms === null ? name : `for ${name}`}.`)
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
    app.notify('good', target.many === undefined ? `${target.name} goes on.` : `${target.name}: they go on.`)
  }
  return (
    <Dialog title={`Resume ${target.name}?`} action="Resume" onConfirm={resume} onClose={onClose}>
      <p>
        Calls leave again at once, at the rate of their lanes. If the provider asked for the pause, it may
        answer with 429 again.
      </p>
    </Dialog>
  )
}
