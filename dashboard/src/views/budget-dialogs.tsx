import { useState } from 'preact/hooks'
import { Dialog } from '../components/dialog.tsx'
import { formatUsd } from '../format.ts'
import { useApp } from '../state/app.ts'
import type { Budget } from '../wire.ts'

type Question = { onChanged: () => void; onClose: () => void }

const pathOf = (group: string) => `/v1/groups/${encodeURIComponent(group)}/budget`
const windows = { total: 'in all', day: 'a day', week: 'a week', month: 'a month' } as const

/** Sets the budget of a group. `budget`: its present one; null: the dialog asks for the group. */
export function SetBudgetDialog({ budget, onChanged, onClose }: Question & { budget: Budget | null }) {
  const app = useApp()
  const tenants = app.feed.overview.value?.tenants.map(({ id }) => id) ?? []
  const [tenant, setTenant] = useState(budget?.tenant ?? tenants[0] ?? '')
  const [group, setGroup] = useState(budget?.name ?? '')
  const [usd, setUsd] = useState(String(budget?.usd ?? ''))
  const [per, setPer] = useState<string>(budget?.per ?? 'total')
  const [zone, setZone] = useState(budget?.time_zone ?? 'UTC')
  const confirm = async () => {
    const body = { usd: Number(usd), per, time_zone: zone }
    await app.api.json(pathOf(group), { method: 'PUT', body, tenant })
    app.notify(
      'good',
      `The jobs of ${group} may cost ${formatUsd(Number(usd))} ${windows[per as keyof typeof windows]}.`,
    )
    onChanged()
  }
  return (
    <Dialog
      title={budget === null ? 'Set a group’s budget' : `Budget of the group ${group}`}
      action="Set"
      isReady={group !== '' && usd.trim() !== '' && Number(usd) >= 0}
      onConfirm={confirm}
      onClose={onClose}
    >
      {budget === null ? (
        <>
          <Choice
            label="Tenant"
            value={tenant}
            options={tenants.map((name) => [name, name])}
            onChange={setTenant}
          />
          <Field label="Group" value={group} onInput={setGroup} />
        </>
      ) : (
        <p>It replaces all budgets of the group. The amount already spent stays.</p>
      )}
      <Field label="USD" value={usd} onInput={setUsd} />
      <Choice label="Window" value={per} options={Object.entries(windows)} onChange={setPer} />
      <Field label="Time zone of the window" value={zone} onInput={setZone} />
    </Dialog>
  )
}

/** Removes all budgets of a group. */
export function DeleteBudgetDialog({ budget, onChanged, onClose }: Question & { budget: Budget }) {
  const app = useApp()
  const group = budget.name ?? ''
  const confirm = async () => {
    await app.api.json(pathOf(group), { method: 'DELETE', tenant: budget.tenant })
    app.notify('good', `${group} has no budget any more.`)
    onChanged()
  }
  return (
    <Dialog
      title={`Remove the budgets of ${group}?`}
      action="Remove"
      tone="bad"
      onConfirm={confirm}
      onClose={onClose}
    >
      <p>After that, only the other budgets limit its jobs.</p>
    </Dialog>
  )
}

function Field(props: { label: string; value: string; onInput: (value: string) => void }) {
  return (
    <label>
      {props.label}
      <input value={props.value} onInput={(event) => props.onInput(event.currentTarget.value)} />
    </label>
  )
}

function Choice(props: {
  label: string
  value: string
  options: [value: string, name: string][]
  onChange: (value: string) => void
}) {
  return (
    <label>
      {props.label}
      <select
        value={props.value}
        onChange={(event) => props.onChange((event.currentTarget as HTMLSelectElement).value)}
      >
        {props.options.map(([value, name]) => (
          <option key={value} value={value}>
            {name}
          </option>
        ))}
      </select>
    </label>
  )
}
