import { useEffect, useState } from 'preact/hooks'
import { explain } from '../api.ts'
import { Dialog } from '../components/dialog.tsx'
import { Loading } from '../components/empty.tsx'
import { Table } from '../components/table.tsx'
import { useApp } from '../state/app.ts'
import type { Key, List, NewKey, TenantDetails } from '../wire.ts'

type Listed = { tenant: TenantDetails; keys: Key[] }
type Asked =
  | { kind: 'new tenant' }
  | { kind: 'new key' | 'delete'; tenant: string }
  | { kind: 'revoke'; tenant: string; key: Key }

const pathOf = (tenant: string, rest = '') => `/v1/tenants/${encodeURIComponent(tenant)}${rest}`

/** Tenants and keys that were created by the API: create and revoke them here. */
export function TenantKeys() {
  const app = useApp()
  const [listed, setListed] = useState<Listed[] | null>(null)
  const [failure, setFailure] = useState<string | null>(null)
  const [asked, setAsked] = useState<Asked | null>(null)
  const [made, setMade] = useState<NewKey | null>(null)

  const load = async () => {
    try {
      const { data } = await app.api.json<List<TenantDetails>>('/v1/tenants')
      const own = data.filter(({ source }) => source === 'api')
      const lists = await Promise.all(
        own.map(async (tenant) => ({
          tenant,
          keys: (await app.api.json<List<Key>>(pathOf(tenant.name, '/keys'))).data,
        })),
      )
      setListed(lists)
      setFailure(null)
    } catch (error) {
      setFailure(explain(error))
    }
  }
  useEffect(() => void load(), [])

  const close = () => setAsked(null)
  const common = { onClose: close, onChanged: load }
  return (
    <section class="panel" aria-labelledby="keys-title">
      <div class="panel-head">
        <h2 id="keys-title">Tenants and keys of the API</h2>
        {app.may('admin') ? (
          <button type="button" class="small" onClick={() => setAsked({ kind: 'new tenant' })}>
            New tenant
          </button>
        ) : null}
      </div>
      {failure === null ? null : (
        <p role="alert" class="failure">
          {failure}
        </p>
      )}
      {listed === null ? (
        <Loading />
      ) : listed.length === 0 ? (
        <p class="muted">None yet. All tenants come from the configuration; change them there.</p>
      ) : (
        <KeyTable listed={listed} onAsk={setAsked} />
      )}
      {asked?.kind === 'new tenant' ? <NewTenantDialog {...common} /> : null}
      {asked?.kind === 'new key' ? <NewKeyDialog tenant={asked.tenant} onMade={setMade} {...common} /> : null}
      {asked?.kind === 'revoke' ? <RevokeDialog {...asked} {...common} /> : null}
      {asked?.kind === 'delete' ? <DeleteDialog {...asked} {...common} /> : null}
      {made === null || asked !== null ? null : (
        <Dialog
          title={`Key of ${made.tenant}`}
          action="Done"
          onConfirm={async () => {}}
          onClose={() => setMade(null)}
        >
          <label>
            The secret is shown this once
            <input
              readOnly
              class="code"
              value={made.secret}
              onFocus={(event) => event.currentTarget.select()}
            />
          </label>
        </Dialog>
      )}
    </section>
  )
}

function KeyTable({ listed, onAsk }: { listed: Listed[]; onAsk: (asked: Asked) => void }) {
  const mayAct = useApp().may('admin')
  const head = ['Tenant', 'Key', 'Scopes', 'Models', 'Expires', 'Actions'].map((name) => ({
    name,
    isHidden: name === 'Actions',
  }))
  return (
    <Table caption="Keys of the API" head={head}>
      {listed.flatMap(({ tenant: { name, models }, keys }) => [
        <tr key={name}>
          <th scope="row">{name}</th>
          <td class="muted">{keys.length === 0 ? 'no key' : null}</td>
          <td />
          <td>{models?.join(', ') ?? 'all'}</td>
          <td />
          <td hidden={!mayAct}>
            <button
              type="button"
              class="small"
              aria-label={`New key of ${name}`}
              onClick={() => onAsk({ kind: 'new key', tenant: name })}
            >
              New key
            </button>{' '}
            <button
              type="button"
              class="small"
              aria-label={`Delete ${name}`}
              onClick={() => onAsk({ kind: 'delete', tenant: name })}
            >
              Delete
            </button>
          </td>
        </tr>,
        ...keys.map((key) => (
          <tr key={key.id}>
            <td />
            <td>
              {key.name ?? 'no name'} <code>…{key.hint}</code>
            </td>
            <td>{key.scopes.join(', ')}</td>
            <td>{key.models?.join(', ') ?? 'all'}</td>
            <td>{key.expires_at ?? 'never'}</td>
            <td hidden={!mayAct}>
              <button
                type="button"
                class="small"
                aria-label={`Revoke ${key.name ?? key.hint}`}
                onClick={() => onAsk({ kind: 'revoke', tenant: name, key })}
              >
                Revoke
              </button>
            </td>
          </tr>
        )),
      ])}
    </Table>
  )
}

type Question = { onChanged: () => Promise<void>; onClose: () => void }

function NewTenantDialog({ onChanged, onClose }: Question) {
  const app = useApp()
  const [name, setName] = useState('')
  const [weight, setWeight] = useState('1')
  const [models, setModels] = useState('')
  const confirm = async () => {
    const body = { name, weight: Number(weight), ...toList('models', models) }
    await app.api.json('/v1/tenants', { method: 'POST', body })
    app.notify('good', `${name} is there; it needs a key.`)
    await onChanged()
  }
  return (
    <Dialog
      title="New tenant"
      action="Create"
      isReady={name !== '' && Number(weight) > 0}
      onConfirm={confirm}
      onClose={onClose}
    >
      <Field label="Name" value={name} onInput={setName} />
      <Field label="Weight" value={weight} onInput={setWeight} />
      <Field label="Models, such as openai/* (empty: all)" value={models} onInput={setModels} />
    </Dialog>
  )
}

function NewKeyDialog(props: Question & { tenant: string; onMade: (key: NewKey) => void }) {
  const { tenant, onMade, onChanged, onClose } = props
  const app = useApp()
  const [name, setName] = useState('')
  const [scopes, setScopes] = useState('jobs read')
  const [models, setModels] = useState('')
  const confirm = async () => {
    const body = {
      ...(name === '' ? {} : { name }),
      ...toList('scopes', scopes),
      ...toList('models', models),
    }
    onMade(await app.api.json<NewKey>(pathOf(tenant, '/keys'), { method: 'POST', body }))
    await onChanged()
  }
  return (
    <Dialog title={`New key of ${tenant}`} action="Create" onConfirm={confirm} onClose={onClose}>
      <Field label="Name" value={name} onInput={setName} />
      <Field label="Scopes: jobs, read, metrics, admin" value={scopes} onInput={setScopes} />
      <Field label="Models, such as openai/* (empty: all)" value={models} onInput={setModels} />
    </Dialog>
  )
}

function RevokeDialog({ tenant, key, onChanged, onClose }: Question & { tenant: string; key: Key }) {
  const app = useApp()
  const confirm = async () => {
    await app.api.json(pathOf(tenant, `/keys/${encodeURIComponent(key.id)}`), { method: 'DELETE' })
    app.notify('good', 'The key is revoked.')
    await onChanged()
  }
  const title = `Revoke ${key.name ?? key.hint} of ${tenant}?`
  return (
    <Dialog title={title} action="Revoke" tone="bad" onConfirm={confirm} onClose={onClose}>
      <p>Every process refuses it within 5 seconds. Jobs that it submitted go on.</p>
    </Dialog>
  )
}

function DeleteDialog({ tenant, onChanged, onClose }: Question & { tenant: string }) {
  const app = useApp()
  const confirm = async () => {
    await app.api.json(pathOf(tenant), { method: 'DELETE' })
    app.notify('good', `${tenant} and its keys are deleted.`)
    await onChanged()
  }
  return (
    <Dialog title={`Delete ${tenant}?`} action="Delete" tone="bad" onConfirm={confirm} onClose={onClose}>
      <p>
        This also deletes its keys. The tenant must have no open jobs, flows or batches, and no schedules.
      </p>
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

/** A field with the values that the text names; no field if the text is empty. */
function toList(name: 'scopes' | 'models', text: string): object {
  const values = text.split(/[\s,]+/).filter((one) => one !== '')
  return values.length === 0 ? {} : { [name]: values }
}
