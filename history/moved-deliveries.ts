import type { Finder } from './find.ts'
import type { StoredJobs } from './stored-jobs.ts'

/**
 * Reads the fields of deliveries whose jobs are in the history. Null: the history has the job but does not show it at present. A
 * delivery that is missing in the answer is not in the history. Throws `HistoryUnavailableError`.
 */
export async function readMovedDeliveries(
  {
    finder,
    stored,
  }: { finder: Pick<Finder, 'jobsOfDeliveries'>; stored: Pick<StoredJobs, 'ask' | 'records'> },
  root: string,
  ids: readonly string[],
): Promise<Map<string, Record<string, string> | null>> {
  const jobs = await stored.ask(() => finder.jobsOfDeliveries(root, ids))
  const found = await stored.records(root, [...new Set(jobs.values())], {})
  const fields = new Map<string, Record<string, string>>()
  for (const { row } of found.values()) {
    for (const one of JSON.parse(row.deliveries) as Record<string, string>[]) fields.set(one.id!, one)
  }
  return new Map([...jobs.keys()].map((id) => [id, fields.get(id) ?? null]))
}
