import { useState } from 'preact/hooks'
import { explain } from '../api.ts'
import { Choice } from '../components/choice.tsx'
import { Dialog } from '../components/dialog.tsx'
import { Empty } from '../components/empty.tsx'
import { Table } from '../components/table.tsx'
import { Time } from '../components/time.tsx'
import { countOf, formatBytes, nothing, shortenId } from '../format.ts'
import { saveFile } from '../save-file.ts'
import { useApp } from '../state/app.ts'
import { descending, type Owned } from '../state/owned-lists.ts'
import { type FilterOf, linkToList } from '../state/route.ts'
import { type OwnedRead, useOwned } from '../state/use-owned.ts'
import type { StoredFile } from '../wire.ts'
import { OwnedList, TenantChoice } from './owned-list.tsx'

/** Time between two reads of the list, ms. */
const READ_EVERY_MS = 10_000
const newest = descending<StoredFile>((file) => file.created_at)

/** The latest files of all tenants: uploads, and files that batches and jobs wrote. */
export function FilesView({ filter }: { filter: FilterOf<'files'> }) {
  const { tenant, purpose } = filter
  const [asked, setAsked] = useState<Owned<StoredFile> | null>(null)
  const list = useOwned({
    path: '/v1/files',
    ...{ query: { purpose }, tenant, everyMs: READ_EVERY_MS, order: newest },
  })
  const choose = (name: keyof typeof filter) => (value: string) => {
    location.hash = linkToList('files', { ...filter, [name]: value })
  }
  return (
    <>
      <div class="page-head">
        <h1>Files</h1>
        <p class="muted">{sumUp(list)}</p>
      </div>
      <search class="filters" aria-label="Filter files">
        <TenantChoice tenant={tenant} onChange={choose('tenant')} />
        <Choice
          label="Purpose"
          any="any purpose"
          value={purpose}
          values={['batch', 'batch_output', 'job_output', 'user_data', 'vision']}
          onChange={choose('purpose')}
        />
      </search>
      <OwnedList
        list={list}
        table={(files) => <FileTable files={files} onDelete={setAsked} />}
        empty={
          purpose === '' ? (
            <Empty title="There are no files.">
              <p>
                <code>POST /v1/files</code> uploads one. Results of batches, pictures and sound are files,
                too.
              </p>
            </Empty>
          ) : (
            <Empty title="No file has this purpose." />
          )
        }
      />
      {asked === null ? null : (
        <DeleteDialog owned={asked} onClose={() => setAsked(null)} onDeleted={list.reload} />
      )}
    </>
  )
}

function sumUp({ found, hasMore }: OwnedRead<StoredFile>): string {
  if (found === null || found.length === 0) return 'Newest first.'
  const bytes = found.reduce((sum, { entry }) => sum + entry.bytes, 0)
  const files = hasMore ? `The newest ${countOf(found.length, 'file')}` : countOf(found.length, 'file')
  return `${files}, ${formatBytes(bytes)}, newest first.`
}

function FileTable(props: { files: Owned<StoredFile>[]; onDelete: (file: Owned<StoredFile>) => void }) {
  const { files, onDelete } = props
  const mayAct = useApp().may('jobs')
  return (
    <Table
      caption="Files"
      head={[
        { name: 'File' },
        { name: 'Name' },
        { name: 'Tenant' },
        { name: 'Purpose' },
        { name: 'Size', isNumber: true },
        { name: 'Created' },
        { name: 'Expires' },
        { name: 'Actions', isHidden: true },
      ]}
    >
      {files.map((owned) => {
        const { tenant, entry: file } = owned
        return (
          <tr key={file.id}>
            <th scope="row" class="mono" title={file.id}>
              {shortenId(file.id)}
            </th>
            <td class="clip" title={file.filename}>
              {file.filename}
            </td>
            <td>{tenant}</td>
            <td>{file.purpose}</td>
            <td class="num right">{formatBytes(file.bytes)}</td>
            <td class="num">
              <Time at={file.created_at * 1_000} />
            </td>
            <td class="num">
              {file.expires_at === undefined ? nothing : <Time at={file.expires_at * 1_000} />}
            </td>
            <td class="right">
              <div class="buttons">
                <SaveButton owned={owned} />
                {mayAct ? (
                  <button
                    type="button"
                    class="small"
                    aria-label={`Delete ${file.filename}`}
                    onClick={() => onDelete(owned)}
                  >
                    Delete…
                  </button>
                ) : null}
              </div>
            </td>
          </tr>
        )
      })}
    </Table>
  )
}

function SaveButton({ owned: { tenant, entry: file } }: { owned: Owned<StoredFile> }) {
  const app = useApp()
  const [isBusy, setBusy] = useState(false)
  const save = async () => {
    setBusy(true)
    try {
      await saveFile(app.api, `/v1/files/${file.id}/content`, tenant, file.filename)
    } catch (error) {
      app.notify('bad', explain(error))
    }
    setBusy(false)
  }
  return (
    <button
      type="button"
      class="small"
      disabled={isBusy}
      aria-label={`Download ${file.filename}`}
      onClick={save}
    >
      Download
    </button>
  )
}

function DeleteDialog(props: { owned: Owned<StoredFile>; onClose: () => void; onDeleted: () => void }) {
  const { owned, onClose, onDeleted } = props
  const app = useApp()
  const { tenant, entry: file } = owned
  const remove = async () => {
    await app.api.json(`/v1/files/${file.id}`, { method: 'DELETE', tenant })
    app.notify('good', 'The file is deleted.')
    onDeleted()
  }
  return (
    <Dialog
      title={`Delete ${file.filename}?`}
      action="Delete"
      tone="bad"
      onConfirm={remove}
      onClose={onClose}
    >
      <p>
        Its {formatBytes(file.bytes)} are gone for good. Jobs and batches of <b>{tenant}</b> that still need
        it fail.
      </p>
    </Dialog>
  )
}
