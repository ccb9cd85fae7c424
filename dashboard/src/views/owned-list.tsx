import type { ComponentChildren } from 'preact'
import { Choice } from '../components/choice.tsx'
import { Loading } from '../components/empty.tsx'
import { FailureText } from '../components/failure.tsx'
import { useApp } from '../state/app.ts'
import type { Owned } from '../state/owned-lists.ts'
import type { OwnedRead } from '../state/use-owned.ts'

/** Chooses the tenant of a list; absent if there is only one. */
export function TenantChoice({ tenant, onChange }: { tenant: string; onChange: (tenant: string) => void }) {
  const tenants = (useApp().feed.overview.value?.tenants ?? []).map(({ id }) => id)
  return tenants.length > 1 ? (
    <Choice label="Tenant" any="all tenants" value={tenant} values={tenants} onChange={onChange} />
  ) : null
}

/** A list of one tenant or of all: an error if there is one, the entries, and a button for more. */
export function OwnedList<Entry>(props: {
  list: OwnedRead<Entry>
  /** Shown if there are no entries. */
  empty: ComponentChildren
  /** Renders the entries; shown in a panel. */
  table: (entries: Owned<Entry>[]) => ComponentChildren
}) {
  const { list, empty, table } = props
  const { found, failure, hasMore, showMore } = list
  return (
    <>
      <FailureText text={failure} />
      {found === null ? (
        failure === null ? (
          <Loading />
        ) : null
      ) : found.length === 0 ? (
        empty
      ) : (
        <section class="panel">{table(found)}</section>
      )}
      {found !== null && hasMore ? <MoreButton onPress={showMore} /> : null}
    </>
  )
}

/** @param props.what names the entries, on a page with several lists */
export function MoreButton({ what = '', onPress }: { what?: string; onPress: () => void }) {
  return (
    <div class="buttons pager">
      <button type="button" onClick={onPress}>
        Show more{what === '' ? '' : ` ${what}`}
      </button>
    </div>
  )
}
