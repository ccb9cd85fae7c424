import { SluiceError } from './errors.ts'
import type { Http } from './http.ts'
import type {
  ChangeSchedule,
  CreateSchedule,
  Job,
  ListSchedulesAnswer,
  ListSchedulesQuery,
  Schedule,
  ScheduleRun,
} from './openapi.ts'

type Options = { signal?: AbortSignal }

/** Jobs that are created again and again, at set times or intervals. */
export type Schedules = {
  /**
   * Creates a schedule; if the client repeats the request, it is still one. The same key with the same payload is the
   * same schedule for 24 hours.
   */
  create(create: CreateSchedule, options?: Options & { idempotencyKey?: string }): Promise<Schedule>
  get(id: string, options?: Options): Promise<Schedule>
  /** Newest first, page by page as they are read; `limit` is the size of a page. */
  list(options?: ListSchedulesQuery & Options): AsyncGenerator<Schedule, void, undefined>
  /** Changes the given members; null restores a default. Takes effect from the next slot. */
  update(id: string, change: ChangeSchedule, options?: Options): Promise<Schedule>
  /** Deletes it and its history; its jobs stay. Deleting it again is not an error. */
  delete(id: string, options?: Options): Promise<void>
  /** Creates its job now, independent of the slots. */
  run(id: string, options?: Options & { idempotencyKey?: string }): Promise<Job>
  /** The outcomes of its slots, newest first. */
  runs(id: string, options?: ListSchedulesQuery & Options): AsyncGenerator<ScheduleRun, void, undefined>
}

export function createSchedules({ http, createKey }: { http: Http; createKey: () => string }): Schedules {
  const pathOf = (id: string) => `/v1/schedules/${encodeURIComponent(id)}`
  const contentType = 'application/json'

  async function* pages<Entry>(
    path: string,
    { signal, ...query }: ListSchedulesQuery & Options,
  ): AsyncGenerator<Entry, void, undefined> {
    let after = query.after
    for (;;) {
      const search = new URLSearchParams()
      if (query.limit !== undefined) search.set('limit', String(query.limit))
      if (after !== undefined) search.set('after', after)
      type Page = Pick<ListSchedulesAnswer, 'has_more' | 'last_id'> & { data: Entry[] }
      const page: Page = await http.json('GET', `${path}?${search}`, { signal })
      yield* page.data
      if (!page.has_more || page.last_id === null) return
      after = page.last_id
    }
  }

  return {
    create: (create, { idempotencyKey = createKey(), signal } = {}) =>
      http.json('POST', '/v1/schedules', {
        body: JSON.stringify(create),
        contentType,
        headers: { 'idempotency-key': idempotencyKey },
        signal,
      }),
    get: (id, { signal } = {}) => http.json('GET', pathOf(id), { signal }),
    list: (options = {}) => pages('/v1/schedules', options),
    update: (id, change, { signal } = {}) =>
      http.json('PATCH', pathOf(id), { body: JSON.stringify(change), contentType, signal }),
    async delete(id, { signal } = {}) {
      try {
        await http.json('DELETE', pathOf(id), { signal })
      } catch (error) {
        if (!(error instanceof SluiceError) || error.status !== 404) throw error
      }
    },
    run: (id, { idempotencyKey = createKey(), signal } = {}) =>
      http.json('POST', `${pathOf(id)}/run`, { headers: { 'idempotency-key': idempotencyKey }, signal }),
    runs: (id, options = {}) => pages(`${pathOf(id)}/runs`, options),
  }
}
