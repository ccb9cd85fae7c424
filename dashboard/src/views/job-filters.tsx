import { useEffect, useState } from 'preact/hooks'
import { useApp } from '../state/app.ts'
import { checkPairs, isFiltered, type JobFilter } from '../state/job-filter.ts'
import { linkToJobs } from '../state/route.ts'
import { jobStatuses } from '../wire.ts'
import { BulkActions } from './bulk-actions.tsx'

/** The filters of the list of jobs. The address contains all choices. */
export function JobFilters({ filter, tenants }: { filter: JobFilter; tenants: string[] }) {
  const { feed } = useApp()
  const overview = feed.overview.value
  const lanes = overview?.lanes.map(({ id }) => id) ?? []
  const errors = [...new Set(overview?.failures.map(({ code }) => code))].sort()
  // With very many tenants the overview names only some of them. Then there is no action on all jobs: it would take only theirs.
  const isAll = overview?.tenant_count === tenants.length
  const change = (changed: Partial<JobFilter>) => {
    location.hash = linkToJobs({ ...filter, after: '', ...changed })
  }
  const choices = [
    ...(tenants.length > 1
      ? [{ name: 'tenant', label: 'Tenant', values: tenants, any: 'all tenants' } as const]
      : []),
    { name: 'status', label: 'Status', values: jobStatuses, any: 'any status' },
    { name: 'lane', label: 'Lane', values: lanes, any: 'any lane' },
    { name: 'error', label: 'Error', values: errors, any: 'any error' },
  ] as const
  return (
    <search class="filters" aria-label="Filter jobs">
      {choices.map(({ name, label, values, any }) => {
        const value = filter[name]
        const options: readonly string[] =
          value === '' || (values as readonly string[]).includes(value) ? values : [value, ...values]
        return (
          <label key={name}>
            {label}
            <select value={value} onChange={(event) => change({ [name]: event.currentTarget.value })}>
              <option value="">{any}</option>
              {options.map((option) => (
                <option key={option} value={option}>
                  {option}
                </option>
              ))}
            </select>
          </label>
        )
      })}
      <label>
        Group
        <input
          type="search"
          value={filter.group}
          placeholder="any group"
          onChange={(event) => change({ group: event.currentTarget.value.trim() })}
        />
      </label>
      <label>
        Model
        <input
          type="search"
          value={filter.model}
          placeholder="any model"
          title="The model or alias that the request named"
          onChange={(event) => change({ model: event.currentTarget.value.trim() })}
        />
      </label>
      <label>
        Cost from, USD
        <input
          type="number"
          min="0"
          step="any"
          value={filter.cost}
          placeholder="any cost"
          onChange={(event) => change({ cost: event.currentTarget.value })}
        />
      </label>
      <Metadata value={filter.metadata} onChange={(metadata) => change({ metadata })} />
      <When label="Created from" value={filter.from} onChange={(from) => change({ from })} />
      <When label="Created before" value={filter.to} onChange={(to) => change({ to })} />
      {isFiltered(filter) ? (
        <a class="clear" href={linkToJobs({ tenant: filter.tenant, sort: filter.sort })}>
          Clear
        </a>
      ) : null}
      <BulkActions filter={filter} tenants={filter.tenant !== '' ? [filter.tenant] : isAll ? tenants : []} />
    </search>
  )
}

function Metadata({ value, onChange }: { value: string; onChange: (value: string) => void }) {
  const [fault, setFault] = useState<string | null>(null)
  // Keeps what the user types, even while it is not a complete pair.
  const [text, setText] = useState(value)
  useEffect(() => setText(value), [value])
  return (
    <label>
      Metadata
      <input
        type="search"
        value={text}
        placeholder="user=42"
        aria-invalid={fault !== null}
        title="name=value, with & between several"
        onInput={(event) => setText(event.currentTarget.value)}
        onChange={(event) => {
          const pairs = event.currentTarget.value.trim()
          const found = checkPairs(pairs)
          setFault(found)
          if (found === null) onChange(pairs)
        }}
      />
      {fault === null ? null : (
        <span class="failure" role="alert">
          {fault}
        </span>
      )}
    </label>
  )
}

/** A time in this machine's time zone; the address has it in UTC. */
function When(props: { label: string; value: string; onChange: (value: string) => void }) {
  const { label, value, onChange } = props
  return (
    <label>
      {label}
      <input
        type="datetime-local"
        value={toLocal(value)}
        onChange={(event) => {
          const time = Date.parse(event.currentTarget.value)
          onChange(Number.isNaN(time) ? '' : new Date(time).toISOString())
        }}
      />
    </label>
  )
}

function toLocal(value: string): string {
  const time = new Date(value)
  if (Number.isNaN(time.getTime())) return ''
  return new Date(time.getTime() - time.getTimezoneOffset() * 60_000).toISOString().slice(0, 16)
}
