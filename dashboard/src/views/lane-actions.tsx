import { useState } from 'preact/hooks'
import { Dialog } from '../components/dialog.tsx'
import { Icon } from '../components/icon.tsx'
import { useApp } from '../state/app.ts'
import type { Lane } from '../wire.ts'

const minute = 60_000
const durations = [
  { name: '5 minutes', ms: 5 * minute },
  { name: '15 minutes', ms: 15 * minute },
  { name: '1 hour', ms: 60 * minute },
  { name: '6 hours', ms: 360 * minute },
  { name: 'until somebody resumes it', ms: null },
]

/** The button that pauses a lane, or lets it go on; each asks first. */
export function LaneActions({ lane }: { lane: Lane }) {
  const [isOpen, setOpen] = useState(false)
  const isPaused = lane.paused_until !== null
  const [asked, setAsked] = useState<'pause' | 'resume'>('pause')
  const close = () => setOpen(false)
  return (
    <>
      <button
        type="button"
        class="small"
        aria-label={`${isPaused ? 'Resume' : 'Pause'} ${lane.id}`}
        onClick={() => {
          // What was asked stays so, should the lane change while the question stands.
          setAsked(isPaused ? 'resume' : 'pause')
          setOpen(true)
        }}
      >
        <Icon name={isPaused ? 'play' : 'pause'} /> {isPaused ? 'Resume' : 'Pause'}
      </button>
      {!isOpen ? null : asked === 'pause' ? (
        <PauseDialog lane={lane} onClose={close} />
      ) : (
        <ResumeDialog lane={lane} onClose={close} />
      )}
    </>
  )
}

function PauseDialog({ lane, onClose }: { lane: Lane; onClose: () => void }) {
  const app = useApp()
  const [choice, setChoice] = useState(1)
  const [reason, setReason] = useState('')
  const { name, ms } = durations[choice]!
  const pause = async () => {
    const body = {
      ...(ms === null ? {} : { for_ms: ms }),
      ...(reason.trim() === '' ? {} : { reason: reason.trim() }),
    }
    await app.api.json(lanePath(lane, 'pause'), { method: 'POST', body })
    app.notify('good', `${lane.id} is paused ${ms === null ? name : `for ${name}`}.`)
  }
  return (
    <Dialog title={`Pause ${lane.id}?`} action="Pause" onConfirm={pause} onClose={onClose}>
      <p>
        No call leaves this lane, from any process, until the pause ends. Calls under way go on, and jobs that
        come wait in order.
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

function ResumeDialog({ lane, onClose }: { lane: Lane; onClose: () => void }) {
  const app = useApp()
  const resume = async () => {
    await app.api.json(lanePath(lane, 'resume'), { method: 'POST' })
    app.notify('good', `${lane.id} goes on.`)
  }
  return (
    <Dialog title={`Resume ${lane.id}?`} action="Resume" onConfirm={resume} onClose={onClose}>
      <p>
        Calls leave again at once, at the lane’s rate. Should the pause be the provider’s own wish, it may
        answer with 429 again.
      </p>
    </Dialog>
  )
}

function lanePath(lane: Lane, action: string): string {
  return `/v1/lanes/${encodeURIComponent(lane.id)}/${action}`
}
