import { Empty } from '../components/empty.tsx'
import { formatCount } from '../format.ts'

/** Shown in place of an empty list of jobs. */
export function NoJobs(props: { isFiltered: boolean; isOfAll: boolean; scanned: number | null }) {
  const { isFiltered, isOfAll, scanned } = props
  if (scanned !== null)
    return <Empty title={`None of these ${formatCount(scanned)} jobs matches; older ones may.`} />
  if (isFiltered) return <Empty title="No job is like that." />
  return (
    <Empty title={isOfAll ? 'There are no jobs.' : 'This tenant has no jobs.'}>
      <p>
        <code>POST /v1/jobs</code> makes one, and so does every call of an OpenAI SDK that is pointed here.
        Ended jobs are forgotten after <code>jobs.retain</code>.
      </p>
    </Empty>
  )
}
