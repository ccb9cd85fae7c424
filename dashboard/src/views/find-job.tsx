import { useEffect, useState } from 'preact/hooks'
import { explain } from '../api.ts'
import { Loading } from '../components/empty.tsx'
import { useApp } from '../state/app.ts'
import { toQuery } from '../state/query.ts'
import { linkToJob, linkToJobs } from '../state/route.ts'
import type { List, OwnedJob } from '../wire.ts'
import { JobView } from './job.tsx'

/** A job by its id. If the address names no tenant and the key sees all, it finds the tenant that has the job. */
export function FindJob({ id, tenant }: { id: string; tenant: string | null }) {
  const { api, feed } = useApp()
  const caller = feed.caller.value!
  const [failure, setFailure] = useState<string | null>(null)
  const isKnown = tenant !== null || !caller.reads_all
  useEffect(() => {
    if (isKnown) return
    const leaving = new AbortController()
    const { signal } = leaving
    api.json<List<OwnedJob>>(`/v1/jobs/all${toQuery({ id })}`, { signal }).then(
      ({ data: [job] }) => {
        if (job === undefined) setFailure(`${id} is not known to any tenant, or not any more.`)
        // Replaces the address without a tenant, so that Back skips it.
        else location.replace(linkToJob(id, job.tenant!))
      },
      (error: unknown) => signal.aborted || setFailure(explain(error)),
    )
    return () => leaving.abort()
  }, [id, isKnown])
  if (isKnown) return <JobView id={id} tenant={tenant ?? caller.tenant} />
  if (failure === null) return <Loading />
  return (
    <>
      <h1>There is no such job</h1>
      <p role="alert" class="failure">
        {failure}
      </p>
      <p>
        <a href={linkToJobs({})}>All jobs</a>
      </p>
    </>
  )
}
