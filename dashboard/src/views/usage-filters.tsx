import { useState } from 'preact/hooks'
import { explain } from '../api.ts'
import { saveAnswer } from '../save-file.ts'
import { useApp } from '../state/app.ts'
import { type FilterOf, linkToList, toQuery } from '../state/route.ts'
import { lastDays, spans } from '../state/usage-days.ts'

/** The range of days and the tenant that the page shows, and a button to download it. */
export function UsageFilters({ filter }: { filter: FilterOf<'usage'> }) {
  const app = useApp()
  const tenants = app.feed.overview.value?.tenants.map(({ id }) => id) ?? []
  const { tenant } = filter
  const names = tenant === '' || tenants.includes(tenant) ? tenants : [tenant, ...tenants]
  const shown = filter.from === '' ? lastDays(30, app.now.value) : filter
  const change = (changed: Partial<FilterOf<'usage'>>) => {
    location.hash = linkToList('usage', { ...filter, ...changed })
  }
  const changeDay = (name: 'from' | 'to', day: string) => {
    if (day === '') return
    const range = { from: shown.from, to: shown.to || lastDays(1, app.now.peek()).to, [name]: day }
    // The other end of the range follows, so that it never starts after its end.
    if (range.from > range.to) change({ from: day, to: day })
    else change(range)
  }
  return (
    <search class="filters" aria-label="Range and tenant">
      <fieldset class="buttons spans">
        <legend class="unseen">The last days</legend>
        {spans.map((days) => {
          const range = lastDays(days, app.now.value)
          const isShown = range.from === shown.from && range.to === shown.to
          return (
            <button
              key={days}
              type="button"
              class="small"
              aria-pressed={isShown}
              onClick={() => change(range)}
            >
              {days} days
            </button>
          )
        })}
      </fieldset>
      {(['from', 'to'] as const).map((name) => (
        <label key={name}>
          {name === 'from' ? 'From' : 'To'}
          <input
            type="date"
            value={shown[name]}
            onChange={(event) => changeDay(name, event.currentTarget.value)}
          />
        </label>
      ))}
      {names.length > 1 || tenant !== '' ? (
        <label>
          Tenant
          <select value={tenant} onChange={(event) => change({ tenant: event.currentTarget.value })}>
            <option value="">all tenants</option>
            {names.map((name) => (
              <option key={name} value={name}>
                {name}
              </option>
            ))}
          </select>
        </label>
      ) : null}
      <CsvButton filter={filter} />
    </search>
  )
}

/** Downloads the usage as CSV. It fetches the file, because a link would not send the key. */
function CsvButton({ filter: { tenant, from, to } }: { filter: FilterOf<'usage'> }) {
  const app = useApp()
  const [isBusy, setBusy] = useState(false)
  const download = async () => {
    setBusy(true)
    try {
      const query = toQuery({ by: 'day,tenant,model,tier', from, to })
      const options = { tenant: tenant || null, accept: 'text/csv' }
      const { response } = await app.api.open(`/v1/usage${query}`, options)
      const [, name = 'usage.csv'] =
        /filename="([^"]+)"/.exec(response.headers.get('content-disposition') ?? '') ?? []
      await saveAnswer(response, name)
    } catch (error) {
      app.notify('bad', explain(error))
    }
    setBusy(false)
  }
  return (
    <button
      type="button"
      disabled={isBusy}
      title="A line for each day, tenant, model and tier"
      onClick={download}
    >
      Download CSV
    </button>
  )
}
