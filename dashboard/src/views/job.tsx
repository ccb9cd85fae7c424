import type { ComponentChildren } from 'preact'
import { useEffect, useMemo, useState } from 'preact/hooks'
import { readResultText } from '../answer-text.ts'
import { Chip, StatusChip } from '../components/chip.tsx'
import { Loading } from '../components/empty.tsx'
import { Json } from '../components/json.tsx'
import { Expected, Time } from '../components/time.tsx'
import { describePause, describeWait, formatCount, formatDuration, formatUsd } from '../format.ts'
import { useApp } from '../state/app.ts'
import { type JobWatch, watchJob } from '../state/job-watch.ts'
import { linkToDurableRun, linkToJobs, linkToLane } from '../state/route.ts'
import type { Job, Lane, Usage } from '../wire.ts'
import { Deliveries } from './deliveries.tsx'
import { EditLinks } from './edit-job.tsx'
import { JobActions } from './job-actions.tsx'
import { JobMedia } from './job-media.tsx'
import { JobTimeline } from './job-timeline.tsx'

/** One job: its state and the reason, all its calls, and its answer as it arrives. */
export function JobView({ id, tenant }: { id: string; tenant: string | null }) {
  const { api } = useApp()
  const watch = useMemo(
    () => watchJob({ api, id, tenant, now: Date.now, random: Math.random }),
    [api, id, tenant],
  )
  useEffect(() => watch.stop, [watch])
  const job = watch.job.value
  const failure = watch.failure.value
  if (job === null) {
    if (failure === null) return <Loading />
    return (
      <>
        <h1>{failure.status === 404 ? 'There is no such job' : 'The job cannot be read'}</h1>
        <p role="alert" class="failure">
          {failure.status === 404
            ? `${id} is not known${tenant === null ? '' : ` to the tenant ${tenant}`}, or not any more.`
            : failure.message}
        </p>
        <p>
          <a href={linkToJobs({ tenant: tenant ?? '' })}>All jobs</a>
        </p>
      </>
    )
  }
  return (
    <>
      <div class="page-head">
        <h1 class="mono">{job.id}</h1>
        <StatusChip status={job.status} />
        {watch.connection.value.kind === 'lost' ? <Chip tone="warn" label="events are interrupted" /> : null}
        <JobActions job={job} tenant={tenant} onChange={watch.restart} />
      </div>
      {failure === null ? null : (
        <p role="alert" class="failure">
          {failure.status === 404 ? 'This job is forgotten; here is what was seen of it.' : failure.message}
        </p>
      )}
      <Why job={job} />
      <EditLinks job={job} tenant={tenant} />
      <div class="columns">
        <div>
          <JobTimeline watch={watch} job={job} />
          <Answer watch={watch} job={job} />
          <JobMedia job={job} tenant={tenant} />
          <Deliveries watch={watch} tenant={tenant} />
          <Bodies job={job} tenant={tenant} />
        </div>
        <aside aria-label="About this job">
          <Facts job={job} tenant={tenant} />
        </aside>
      </div>
    </>
  )
}

/** Explains the job's state in one sentence. */
function Why({ job }: { job: Job }) {
  const overview = useApp().feed.overview.value
  const lane = overview?.lanes.find(({ id }) => id === job.lane)
  if (job.error !== null) {
    return (
      <p class="why bad">
        <b>
          <code>{job.error.code}</code>
          {job.error.provider_status === null ? '' : `, provider status ${job.error.provider_status}`}
        </b>{' '}
        <span class="breakable">{job.error.message}</span>{' '}
        <span class="muted">
          {job.error.retryable ? 'Trying again may help.' : 'The same call would most likely fail again.'}
        </span>
      </p>
    )
  }
  if (job.status === 'queued' || job.status === 'scheduled') return <WhyItWaits job={job} lane={lane} />
  if (job.cache === 'hit' || job.cache === 'shared') {
    return (
      <p class="why">
        {job.cache === 'hit'
          ? 'Answered from the cache: no call was made.'
          : 'Shares the call of an equal job.'}
      </p>
    )
  }
  return null
}

function WhyItWaits({ job, lane }: { job: Job; lane: Lane | undefined }) {
  const start = job.next_attempt_at ?? job.run_at ?? job.estimated_start_at
  return (
    <p class="why info">
      {job.waiting_for === null ? 'Waits for its turn' : `Waits for ${describeWait(job.waiting_for)}`}
      {lane !== undefined && lane.paused_until !== null ? (
        <>
          : <a href={linkToLane(lane.id)}>{lane.id}</a> is paused, {describePause(lane.paused_reason)}
        </>
      ) : lane !== undefined && job.status === 'queued' && lane.backlog.waiting > 1 ? (
        <> among {formatCount(lane.backlog.waiting)} jobs of its lane</>
      ) : null}
      .{' '}
      {start === null ? null : (
        <span class="muted">
          Expected to start <Expected at={start} late="any moment" />.
        </span>
      )}
    </p>
  )
}

/** The answer's text: from the stream while it arrives, from the result afterwards. */
function Answer({ watch, job }: { watch: JobWatch; job: Job }) {
  const streamed = watch.streamed.value.text
  const result = useMemo(() => readResultText(job.result), [job.result])
  const text = result ?? streamed
  if (text === '') return null
  const isComing = job.status === 'running'
  return (
    <section class="panel" aria-labelledby="answer">
      <h2 id="answer">
        Answer{' '}
        <span class="muted">
          {isComing ? 'as it comes' : job.status === 'completed' ? '' : 'of a call that broke off'}
        </span>
      </h2>
      <div
        class={`answer ${isComing ? 'coming' : ''}`}
        data-testid="answer"
        role="log"
        aria-live="off"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reachable by keys
        tabIndex={0}
        aria-label="Answer"
      >
        {text}
      </div>
    </section>
  )
}

function Bodies({ job, tenant }: { job: Job; tenant: string | null }) {
  const { api } = useApp()
  const [request, setRequest] = useState<{ body?: object; failure?: string } | null>(null)
  const path = `/v1/jobs/${encodeURIComponent(job.id)}/request`
  useEffect(() => {
    const leaving = new AbortController()
    api.json<{ body: object }>(path, { tenant, signal: leaving.signal }).then(
      ({ body }) => setRequest({ body }),
      (error: Error) => leaving.signal.aborted || setRequest({ failure: error.message }),
    )
    return () => leaving.abort()
  }, [api, path, tenant])
  return (
    <section class="panel" aria-label="Request and result" aria-busy={request === null}>
      {request?.body === undefined ? null : <Json name="Request" value={request.body} />}
      {request?.failure === undefined ? null : (
        <p class="muted">The request cannot be shown: {request.failure}</p>
      )}
      {job.result === null ? null : <Json name="Result" value={job.result} />}
      {job.error?.provider_error === undefined ? null : (
        <Json name="What the provider said" value={job.error.provider_error} />
      )}
    </section>
  )
}

function Facts({ job, tenant }: { job: Job; tenant: string | null }) {
  const ended = job.finished_at === null ? null : Date.parse(job.finished_at) - Date.parse(job.created_at)
  return (
    <section class="panel" aria-labelledby="facts">
      <h2 id="facts">Facts</h2>
      <dl class="facts list">
        <Fact name="Type">{job.type}</Fact>
        <Fact name="Lane">
          <a href={linkToLane(job.lane)}>{job.lane}</a>
        </Fact>
        {job.model === job.lane ? null : <Fact name="Asked for">{job.model}</Fact>}
        {tenant === null ? null : <Fact name="Tenant">{tenant}</Fact>}
        {job.group === null ? null : (
          <Fact name="Group">
            <a href={linkToJobs({ tenant: tenant ?? '', group: job.group })}>{job.group}</a>
          </Fact>
        )}
        {job.durable === undefined ? null : (
          <Fact name="Durable run">
            <a href={linkToDurableRun(job.durable.id, tenant ?? '')}>{job.durable.id}</a>{' '}
            <span class="muted">step {job.durable.step}</span>
          </Fact>
        )}
        <Fact name="Priority">{job.priority}</Fact>
        <Fact name="Created">
          <Time at={job.created_at} />
        </Fact>
        {job.started_at === null ? null : (
          <Fact name="Started">
            <Time at={job.started_at} />
          </Fact>
        )}
        {job.finished_at === null ? null : (
          <Fact name="Ended">
            <Time at={job.finished_at} /> <span class="muted">after {formatDuration(ended)}</span>
          </Fact>
        )}
        {job.deadline === null ? null : (
          <Fact name="Deadline">
            <Time at={job.deadline} />
          </Fact>
        )}
        <Fact name="Tries">
          {job.attempts} of at most {job.max_attempts}
        </Fact>
        <Fact name="Cache">{job.cache}</Fact>
        {job.usage === null ? null : (
          <Fact name="Tokens">
            {formatCount(job.usage.input_tokens)} in, {formatCount(job.usage.output_tokens)} out
            <UsageDetails usage={job.usage} />
          </Fact>
        )}
        <Fact name="Tier">
          {job.tier}
          {job.served_tier === null || job.served_tier === job.tier ? '' : `, served at ${job.served_tier}`}
        </Fact>
        <Fact name="Cost">
          {formatUsd(job.cost_usd)}
          {job.prompt_cache_saved_usd === undefined ? null : (
            <div class="muted">{formatUsd(job.prompt_cache_saved_usd)} saved by the prompt cache</div>
          )}
          {job.cost_is_estimate ? <span class="muted"> estimated</span> : null}
        </Fact>
        {Object.entries(job.metadata).map(([name, value]) => (
          <Fact key={name} name={name}>
            {value}
          </Fact>
        ))}
      </dl>
    </section>
  )
}

const DETAILS = [
  ['cached_input_tokens', 'in from the prompt cache'],
  ['cache_write_tokens', 'in written to the prompt cache'],
  ['audio_input_tokens', 'in of audio'],
  ['reasoning_tokens', 'out of reasoning'],
  ['audio_output_tokens', 'out of audio'],
] as const

function UsageDetails({ usage }: { usage: Usage }) {
  const known = DETAILS.filter(([name]) => (usage[name] ?? 0) > 0)
  return known.map(([name, what]) => (
    <div key={name} class="muted">
      {formatCount(usage[name] ?? 0)} {what}
    </div>
  ))
}

function Fact({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <div>
      <dt class="breakable">{name}</dt>
      <dd class="num breakable">{children}</dd>
    </div>
  )
}
