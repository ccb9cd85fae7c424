import { useState } from 'preact/hooks'
import { Empty, Loading } from '../components/empty.tsx'
import { Bar } from '../components/gauge.tsx'
import { Table } from '../components/table.tsx'
import { Time } from '../components/time.tsx'
import { formatCount, formatShare, formatUsd, toWords } from '../format.ts'
import { useApp } from '../state/app.ts'
import { type FilterOf, linkToFlow, linkToJobs, linkToList } from '../state/route.ts'
import { useRead } from '../state/use-read.ts'
import type { Budget, List } from '../wire.ts'
import { DeleteBudgetDialog, SetBudgetDialog } from './budget-dialogs.tsx'

const READ_EVERY_MS = 5_000
/** The server's largest page; the command line lists more. */
const MOST = 1_000

const owners = {
  '': 'all owners',
  tenant: 'tenants',
  key: 'keys',
  fair_key: 'fair keys',
  group: 'groups',
  flow: 'flows',
} as const

type Asked = { kind: 'set'; budget: Budget | null } | { kind: 'delete'; budget: Budget }

/** Budgets of tenants, keys, fair keys, groups and flows, with the amounts spent and reserved. */
export function BudgetsView({ filter: { owner } }: { filter: FilterOf<'budgets'> }) {
  const { may } = useApp()
  const [changes, setChanges] = useState(0)
  const [asked, setAsked] = useState<Asked | null>(null)
  // useRead reads a new path at once, so a change shows without a wait. The server does not get the part after `#`.
  const path = `/v1/budgets?limit=${MOST}${owner === '' ? '' : `&owner=${owner}`}#${changes}`
  const { body, failure } = useRead<List<Budget>>(path, READ_EVERY_MS)
  const onChanged = () => setChanges((count) => count + 1)
  const close = () => setAsked(null)
  return (
    <>
      <div class="page-head">
        <h1>Budgets</h1>
        <p class="muted">
          What is spent and reserved in the present windows, the fullest first.
          {body?.has_more ? ` The first ${formatCount(MOST)}; the command line lists all.` : null}
        </p>
      </div>
      <div class="filters">
        <label>
          Whose{' '}
          <select
            value={owner}
            onChange={(event) => {
              location.hash = linkToList('budgets', { owner: event.currentTarget.value })
            }}
          >
            {Object.entries(owners).map(([value, name]) => (
              <option key={value} value={value}>
                {name}
              </option>
            ))}
          </select>
        </label>
        {may('jobs') ? (
          <button type="button" class="small" onClick={() => setAsked({ kind: 'set', budget: null })}>
            Set a group’s budget
          </button>
        ) : null}
      </div>
      {failure === null ? null : (
        <p role="alert" class="failure">
          {failure}
        </p>
      )}
      {body === null ? (
        failure === null ? (
          <Loading />
        ) : null
      ) : (
        <Budgets budgets={body.data} onAsk={setAsked} />
      )}
      {asked?.kind === 'set' ? (
        <SetBudgetDialog budget={asked.budget} onChanged={onChanged} onClose={close} />
      ) : null}
      {asked?.kind === 'delete' ? (
        <DeleteBudgetDialog budget={asked.budget} onChanged={onChanged} onClose={close} />
      ) : null}
    </>
  )
}

function Budgets({ budgets, onAsk }: { budgets: readonly Budget[]; onAsk: (asked: Asked) => void }) {
  if (budgets.length === 0) {
    return (
      <Empty title="There are no budgets.">
        <p>
          <code>limits.budgets</code> of a tenant, <code>budgets</code> of a key, <code>per_fair_key</code>,
          or the button above for a group.
        </p>
      </Empty>
    )
  }
  const sorted = budgets.toSorted((one, other) => usedShare(other) - usedShare(one))
  return (
    <section class="panel">
      <Table
        caption="Budgets"
        head={[
          { name: 'Tenant' },
          { name: 'Of' },
          { name: 'Spent, of the budget' },
          { name: 'Window' },
          { name: 'Next window' },
          { name: 'Actions', isHidden: true },
        ]}
      >
        {sorted.map((budget) => (
          <Row key={budget.id} budget={budget} onAsk={onAsk} />
        ))}
      </Table>
    </section>
  )
}

function Row({ budget, onAsk }: { budget: Budget; onAsk: (asked: Asked) => void }) {
  const { tenant, owner, usd, per, time_zone: zone, window_end: end } = budget
  const { spent_usd: spent, reserved_usd: reserved } = budget
  const share = usedShare(budget)
  const held = reserved > 0 ? ` + ${formatUsd(reserved)} reserved` : ''
  const what = nameOf(budget)
  const mayAct = useApp().may('jobs')
  return (
    <tr>
      <th scope="row">
        <a href={linkToJobs({ tenant })}>{tenant}</a>
      </th>
      <td>
        <OwnerName budget={budget} />
      </td>
      <td>
        <div class="meter">
          <Bar
            label={`Budget of ${what}: ${formatShare(share)}`}
            share={Math.min(1, share)}
            tone={share < 0.8 ? undefined : share < 1 ? 'near' : 'full'}
          />
          <span class="num note">{`${formatUsd(spent)}${held} of ${formatUsd(usd)}`}</span>
        </div>
      </td>
      <td>{per === 'total' ? 'in all' : `a ${per}${zone === 'UTC' ? '' : `, ${zone}`}`}</td>
      <td class="num">{end === null ? 'never' : <Time at={end} />}</td>
      <td class="right">
        {owner === 'group' && mayAct ? (
          <div class="buttons">
            <button
              type="button"
              class="small"
              aria-label={`Change the budget of ${what}`}
              onClick={() => onAsk({ kind: 'set', budget })}
            >
              Change
            </button>
            <button
              type="button"
              class="small"
              aria-label={`Remove the budgets of ${what}`}
              onClick={() => onAsk({ kind: 'delete', budget })}
            >
              Remove
            </button>
          </div>
        ) : null}
      </td>
    </tr>
  )
}

function OwnerName({ budget }: { budget: Budget }) {
  const { tenant, owner, name, label } = budget
  if (owner === 'tenant' || name === null) return <>the tenant</>
  const shown = label ?? name
  return (
    <>
      {`${toWords(owner)} `}
      {owner === 'group' ? (
        <a href={linkToJobs({ tenant, group: name })}>{name}</a>
      ) : owner === 'flow' ? (
        <a href={linkToFlow(name, tenant)}>{shown}</a>
      ) : (
        <code title={name}>{shown}</code>
      )}
    </>
  )
}

const nameOf = ({ tenant, owner, name, label }: Budget) =>
  owner === 'tenant' ? tenant : `${toWords(owner)} ${label ?? name}`

const usedShare = ({ usd, spent_usd: spent, reserved_usd: reserved }: Budget) =>
  usd === 0 ? 1 : (spent + reserved) / usd
