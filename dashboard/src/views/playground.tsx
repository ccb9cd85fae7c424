import { useEffect, useMemo, useState } from 'preact/hooks'
import { readResultText } from '../answer-text.ts'
import { explain } from '../api.ts'
import { StatusChip } from '../components/chip.tsx'
import { CopyButton } from '../components/copy-button.tsx'
import { FailureText } from '../components/failure.tsx'
import { countOf, formatCount, formatDuration, formatUsd, nothing } from '../format.ts'
import { type Ask, toBody, writeSnippets } from '../snippets.ts'
import { useApp } from '../state/app.ts'
import { watchJob } from '../state/job-watch.ts'
import { linkToJob, linkToPlayground, type PlaygroundChoice } from '../state/route.ts'
import { useRead } from '../state/use-read.ts'
import type { Estimate, Job, List } from '../wire.ts'

const READ_MODELS_MS = 60_000
/** The estimate starts after this time without a keystroke, ms. */
const ESTIMATE_AFTER_MS = 400

/** Sends a chat or an embedding as a job, and shows it as code. */
export function PlaygroundView({ choice }: { choice: PlaygroundChoice }) {
  const app = useApp()
  const caller = app.feed.caller.value!
  const tenants = (app.feed.overview.value?.tenants ?? []).map(({ id }) => id)
  const tenant = choice.tenant || caller.tenant
  const { body } = useRead<List<{ id: string }>>('/v1/models', READ_MODELS_MS)
  const models = body?.data.map(({ id }) => id) ?? []
  const model = choice.model || models[0] || ''
  const [system, setSystem] = useState('')
  const [prompt, setPrompt] = useState('Name a river.')
  const [most, setMost] = useState('200')
  const [sent, setSent] = useState<{ id: string; tenant: string } | null>(null)
  const [failure, setFailure] = useState<string | null>(null)
  const [isBusy, setBusy] = useState(false)
  const isChat = choice.kind === 'chat'
  const ask: Ask = { kind: choice.kind, model, system, prompt, maxTokens: most === '' ? null : Number(most) }
  const change = (changed: Partial<PlaygroundChoice>) => {
    location.hash = linkToPlayground({ ...choice, ...changed })
  }
  const send = async (event: Event) => {
    event.preventDefault()
    setBusy(true)
    setFailure(null)
    try {
      const request = { type: ask.kind, body: toBody(ask), metadata: { sent_from: 'playground' } }
      const { id } = await app.api.json<Job>('/v1/jobs', { method: 'POST', tenant, body: request })
      setSent({ id, tenant })
    } catch (error) {
      setFailure(explain(error))
    }
    setBusy(false)
  }
  return (
    <>
      <div class="page-head">
        <h1>Playground</h1>
        <p class="muted">A chat or an embedding, sent as a job of {tenant} and paid for like any other.</p>
      </div>
      <div class="halves">
        <div>
          <form class="panel playground" onSubmit={send} aria-label="Request">
            <div class="pair">
              <label>
                Kind
                <select
                  value={choice.kind}
                  onChange={(event) => change({ kind: event.currentTarget.value as Ask['kind'] })}
                >
                  <option value="chat">chat</option>
                  <option value="embedding">embedding</option>
                </select>
              </label>
              {tenants.length > 1 ? (
                <label>
                  Tenant
                  <select value={tenant} onChange={(event) => change({ tenant: event.currentTarget.value })}>
                    {tenants.map((id) => (
                      <option key={id}>{id}</option>
                    ))}
                  </select>
                </label>
              ) : null}
            </div>
            <label>
              Model
              <input
                list="playground-models"
                required
                value={model}
                onChange={(event) => change({ model: event.currentTarget.value.trim() })}
              />
              <datalist id="playground-models">
                {models.map((id) => (
                  <option key={id} value={id} />
                ))}
              </datalist>
            </label>
            {isChat ? (
              <label>
                System
                <textarea rows={2} value={system} onInput={(event) => setSystem(event.currentTarget.value)} />
              </label>
            ) : null}
            <label>
              {isChat ? 'Message' : 'Input'}
              <textarea
                rows={5}
                required
                value={prompt}
                onInput={(event) => setPrompt(event.currentTarget.value)}
              />
            </label>
            {isChat ? (
              <label>
                Most output tokens
                <input
                  type="number"
                  min={1}
                  value={most}
                  onInput={(event) => setMost(event.currentTarget.value)}
                />
              </label>
            ) : null}
            <FailureText text={failure} />
            <div class="buttons">
              {app.may('jobs') ? (
                <button type="submit" class="primary" disabled={isBusy || model === ''}>
                  Send
                </button>
              ) : null}
              <EstimateText ask={ask} tenant={tenant} />
            </div>
          </form>
          {sent === null ? null : <Sent key={sent.id} {...sent} />}
        </div>
        <Snippets ask={ask} />
      </div>
    </>
  )
}

/** The most that the request may cost, before it is sent. */
function EstimateText({ ask, tenant }: { ask: Ask; tenant: string }) {
  const { api } = useApp()
  const [text, setText] = useState('')
  const request = JSON.stringify({ type: ask.kind, body: toBody(ask) })
  useEffect(() => {
    const leaving = new AbortController()
    const { signal } = leaving
    const timer = setTimeout(() => {
      if (ask.model === '' || ask.prompt === '') return setText('')
      const body = JSON.parse(request) as object
      api.json<Estimate>('/v1/estimate', { method: 'POST', tenant, body, signal }).then(
        (estimate) => setText(describeEstimate(estimate)),
        (error: unknown) => signal.aborted || setText(explain(error)),
      )
    }, ESTIMATE_AFTER_MS)
    return () => {
      clearTimeout(timer)
      leaving.abort()
    }
  }, [request, tenant])
  return (
    <span class="muted num" role="status" aria-label="Estimate">
      {text}
    </span>
  )
}

function describeEstimate({ tiers, input_tokens, output_tokens, refused }: Estimate): string {
  const [fault] = refused.examples
  if (fault !== undefined) return fault.error.message
  const usd = tiers.standard?.usd ?? null
  const tokens = `${countOf(input_tokens, 'token')} in, at most ${formatCount(output_tokens)} out`
  return usd === null ? `${tokens}; no price is known` : `at most ${formatUsd(usd)}: ${tokens}`
}

/** The answer as it arrives, and its cost. */
function Sent({ id, tenant }: { id: string; tenant: string }) {
  const { api } = useApp()
  const watch = useMemo(() => watchJob({ api, id, tenant, now: Date.now, random: Math.random }), [id])
  useEffect(() => watch.stop, [watch])
  const job = watch.job.value
  const result = job?.result ?? null
  const text = useMemo(() => readResultText(result) ?? describeVectors(result), [result])
  // Chunks may arrive before the page has read that the job runs.
  const isComing =
    job !== null && job.finished_at === null && (job.status === 'running' || watch.streamed.value.text !== '')
  return (
    <section class="panel" aria-label="Answer">
      <div class="panel-head">
        <h2>Answer</h2>
        {job === null ? null : <StatusChip status={job.status} />}
        <a href={linkToJob(id, tenant)}>the job</a>
      </div>
      <div
        class={`answer ${isComing ? 'coming' : ''}`}
        role="log"
        aria-live="off"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reachable by keys
        tabIndex={0}
        aria-label="Text of the answer"
      >
        {text ?? watch.streamed.value.text}
      </div>
      <FailureText text={job?.error == null ? null : `${job.error.code}: ${job.error.message}`} />
      {job === null ? null : (
        <dl class="facts">
          <div>
            <dt>Cost</dt>
            <dd class="num">{formatUsd(job.cost_usd)}</dd>
          </div>
          <div>
            <dt>Tokens</dt>
            <dd class="num">
              {job.usage === null
                ? nothing
                : `${formatCount(job.usage.input_tokens)} in, ${formatCount(job.usage.output_tokens)} out`}
            </dd>
          </div>
          <div>
            <dt>Took</dt>
            <dd class="num">
              {job.finished_at === null
                ? nothing
                : formatDuration(Date.parse(job.finished_at) - Date.parse(job.created_at))}
            </dd>
          </div>
          <div>
            <dt>Cache</dt>
            <dd>{job.cache}</dd>
          </div>
        </dl>
      )}
    </section>
  )
}

function describeVectors(result: object | null): string | null {
  const { data } = (result ?? {}) as { data?: { embedding?: unknown }[] }
  const first = data?.[0]?.embedding
  if (!Array.isArray(first)) return null
  const numbers = first.slice(0, 6).map((number) => Number(number).toFixed(4))
  return `${countOf(first.length, 'number')}: ${numbers.join(', ')}…`
}

/** The same request, side by side with the form. */
function Snippets({ ask }: { ask: Ask }) {
  const url = location.href.replace(/\/dashboard(\/.*)?(#.*)?$/, '')
  return (
    <section class="panel" aria-label="The same as code">
      {writeSnippets(ask, url).map(({ name, text, note }) => (
        <div key={name} class="snippet">
          <div class="panel-head">
            <h2>
              {name} <span class="muted">{note}</span>
            </h2>
            <CopyButton text={text} name={name} />
          </div>
          {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reachable by keys */}
          <section class="json-body" tabIndex={0} aria-label={`${name} code`}>
            <pre class="code">{text}</pre>
          </section>
        </div>
      ))}
    </section>
  )
}
