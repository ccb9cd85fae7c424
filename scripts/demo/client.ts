import type { GroupSummary, Job } from '../../jobs/job.ts'
import type { JsonObject } from '../../lib/json.ts'
import type { NewJob } from './load.ts'

/** What a client of Sluice needs: fetch, and some lines for the event stream. */
export function createClient(options: { url: string; key: string; signal: AbortSignal }) {
  const { url, key, signal } = options

  async function send(path: string, init: RequestInit = {}): Promise<Response> {
    const response = await fetch(`${url}${path}`, {
      ...init,
      signal,
      headers: { authorization: `Bearer ${key}`, ...init.headers },
    })
    if (!response.ok) throw new Error(`${path} answered ${response.status}: ${await response.text()}`)
    return response
  }

  return {
    async submit(job: NewJob): Promise<Job> {
      const headers = { 'content-type': 'application/json' }
      const response = await send('/v1/jobs', { method: 'POST', headers, body: JSON.stringify(job) })
      return (await response.json()) as Job
    },

    /** Submits many with one request, one a line. */
    async submitAll(jobs: NewJob[]): Promise<void> {
      const headers = { 'content-type': 'application/x-ndjson' }
      const body = jobs.map((job) => JSON.stringify(job)).join('\n')
      const response = await send('/v1/jobs/bulk', { method: 'POST', headers, body })
      const answers = (await response.text()).trim().split('\n')
      const refused = answers.find((line) => line.includes('"error"'))
      if (refused !== undefined) throw new Error(`a job was refused: ${refused}`)
      if (answers.length !== jobs.length) throw new Error(`${answers.length} answers for ${jobs.length} jobs`)
    },

    async group(name: string): Promise<GroupSummary> {
      return (await (await send(`/v1/groups/${name}`)).json()) as GroupSummary
    },

    /** All jobs of a group, page by page. */
    async list(group: string): Promise<Job[]> {
      const jobs: Job[] = []
      for (let after = ''; ; ) {
        const response = await send(`/v1/jobs?group=${group}&limit=1000${after}`)
        const page = (await response.json()) as { data: Job[]; has_more: boolean; last_id: string | null }
        jobs.push(...page.data)
        if (!page.has_more) return jobs
        after = `&after=${page.last_id}`
      }
    },

    /** Follows a streamed job and hands over its text piece by piece; resolves when the job has ended. */
    async follow(id: string, onText: (piece: string) => void): Promise<void> {
      const response = await send(`/v1/jobs/${id}/events`)
      let text = ''
      for await (const part of response.body!.pipeThrough(new TextDecoderStream())) {
        text += part
        const events = text.split('\n\n')
        text = events.pop()!
        for (const event of events) {
          const data = /^data: (.*)$/m.exec(event)?.[1]
          if (event.includes('event: job.delta') && data) onText(readPiece(JSON.parse(data).chunk))
        }
      }
    },
  }
}

export type Client = ReturnType<typeof createClient>

/** The text in one chunk of a chat's stream. */
function readPiece(chunk: JsonObject): string {
  const { choices } = chunk as { choices?: { delta?: { content?: string | null } }[] }
  return choices?.[0]?.delta?.content ?? ''
}
