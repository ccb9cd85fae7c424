// Deletes rows that nothing refers to any more after jobs are deleted.
import { type SqlBool, sql, type Transaction } from 'kysely'
import type { JobRow, Tables } from './tables.ts'

/** Prefix of the key of a result that several jobs may share. */
const ANSWER = 'answer:'

/** Deletes those of these shared results that no job refers to any more. */
export async function deleteAnswers(trx: Transaction<Tables>, root: string, keys: readonly string[]) {
  const shared = [...new Set(keys)].filter((key) => key.startsWith(ANSWER))
  if (shared.length === 0) return
  await trx
    .deleteFrom('history_contents')
    .where('root', '=', root)
    .where('key', 'in', shared)
    .where(({ not, exists, selectFrom }) =>
      not(
        exists(
          selectFrom('history_jobs')
            .select('id')
            .where('root', '=', root)
            .whereRef('result_key', '=', 'history_contents.key')
            // Repeats the condition of the partial index of answers; otherwise the database would not use it.
            .where(sql<SqlBool>`substr(result_key, 1, 7) = 'answer:'`),
        ),
      ),
    )
    .execute()
}

/** Deletes everything that only these rows referred to. Delete or clear the rows themselves first. */
export async function deleteContents(
  trx: Transaction<Tables>,
  root: string,
  rows: readonly Pick<JobRow, 'id' | 'result_key'>[],
): Promise<void> {
  const ids = rows.map(({ id }) => id)
  const own = ids.flatMap((id) => [`body:${id}`, `result:${id}`])
  await trx.deleteFrom('history_contents').where('root', '=', root).where('key', 'in', own).execute()
  await deleteAnswers(
    trx,
    root,
    rows.flatMap(({ result_key }) => result_key ?? []),
  )
  await trx.deleteFrom('history_metadata').where('root', '=', root).where('id', 'in', ids).execute()
  await trx.deleteFrom('history_deliveries').where('root', '=', root).where('job', 'in', ids).execute()
}

/** Deletes those of these groups that have no row of a job left. */
export async function deleteEmptyGroups(trx: Transaction<Tables>, root: string, names: readonly string[]) {
  if (names.length === 0) return
  await trx
    .deleteFrom('history_groups')
    .where('root', '=', root)
    .where('name', 'in', names)
    .where(({ not, exists, selectFrom }) =>
      not(
        exists(
          selectFrom('history_jobs')
            .select('id')
            .where('root', '=', root)
            .whereRef('group_name', '=', 'history_groups.name'),
        ),
      ),
    )
    .execute()
}
