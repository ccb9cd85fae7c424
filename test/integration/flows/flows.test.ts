import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { createClient, FlowFailedError } from '../../../client/index.ts'
import type { FlowView } from '../../../flows/view.ts'
import { callCli } from '../../helpers/call-cli.ts'
import { keysOf } from '../../helpers/redis.ts'
import { type ErrorBody, type FlowEventRead, KEY, OTHER, shareFlowShop } from './fixture.ts'
import { chat, echo, statuses } from './forms.ts'

const shop = shareFlowShop({
  extra: 'webhooks: { secret: s3cret-of-the-tests, allow_private_addresses: true }',
})
const failing = chat('[[fault:400]] no')

describe('the outcome of a flow', () => {
  it.concurrent('runs steps in the order of their references, and keeps their results', async ({
    expect,
  }) => {
    const flow = await shop().run({
      input: { topic: 'rivers', list: [1, 'two'] },
      steps: {
        outline: {
          job: echo(
            '{"chapters":[{"title":"Springs"},{"title":"Deltas"}],"of":"${{ input.topic }} ${{ input.list }}"}'.replace(
              '${{ input.list }}',
              '',
            ),
          ),
        },
        chapters: {
          for_each: '${{ json(steps.outline.result.metadata.text).chapters }}',
          max_in_flight: 1,
          job: echo('${{ item.title }} (${{ index }}) of ${{ input.topic }}, ${{ input.list }}'),
        },
        edit: { job: chat('Join ${{ steps.chapters.result[*].metadata.text }}') },
      },
      output: {
        texts: '${{ steps.chapters.result[*].metadata.text }}',
        n: '${{ length(steps.chapters.result) }}',
      },
    })
    expect(statuses(flow)).toEqual({ outline: 'completed', chapters: 'completed', edit: 'completed' })
    const texts = ['Springs (0) of rivers, [1,"two"]', 'Deltas (1) of rivers, [1,"two"]']
    expect(flow).toMatchObject({ status: 'completed', error: null, output: { texts, n: 2 } })
    expect(flow.step_counts).toEqual({ total: 3, completed: 3, failed: 0, skipped: 0 })
    expect(flow.usage.output_tokens).toBeGreaterThan(0)
    expect(flow.cost_usd).toBeGreaterThan(0)
    const { body } = await shop()
      .job(flow.steps.edit!.job_id!)
      .then(async (job) => {
        expect(job).toMatchObject({ status: 'completed', flow: { id: flow.id, step: 'edit', index: 0 } })
        return shop().call<{ body: { messages: { content: string }[] } }>('GET', `/v1/jobs/${job.id}/request`)
      })
    expect(body.body.messages[0]!.content).toBe(`Join ${JSON.stringify(texts)}`)
  })

  it.concurrent('gives a string that is one expression the value with its type', async ({ expect }) => {
    const flow = await shop().run({
      input: { messages: [{ role: 'user', content: 'hi' }], max: 7 },
      steps: {
        a: {
          job: {
            type: 'chat',
            body: {
              model: 'sim/chat',
              messages: '${{ input.messages }}',
              max_tokens: '${{ input.max }}',
            },
          },
        },
      },
    })
    expect(flow.status).toBe('completed')
    const request = await shop().call<{ body: object }>('GET', `/v1/jobs/${flow.steps.a!.job_id}/request`)
    expect(request.body.body).toMatchObject({ messages: [{ role: 'user', content: 'hi' }], max_tokens: 7 })
  })

  it.concurrent('completes an empty list at once, and makes no call', async ({ expect }) => {
    const flow = await shop().run({
      input: { list: [] },
      steps: {
        none: { for_each: '${{ input.list }}', job: chat('never') },
        after: { needs: ['none'], job: chat('after empty') },
      },
      output: '${{ steps.none.result }}',
    })
    expect(flow).toMatchObject({
      status: 'completed',
      output: [],
      steps: { none: { status: 'completed', result: [], jobs: { total: 0 } } },
    })
  })

  it.concurrent('skips a step whose when is false, and the steps that need it, except for those that need any', async ({
    expect,
  }) => {
    const flow = await shop().run({
      input: { deep: false, none: null },
      steps: {
        yes: { when: '${{ input.deep == `false` }}', job: chat('yes') },
        no: { when: '${{ input.deep }}', job: chat('no') },
        nothing: { when: '${{ input.none }}', job: chat('nothing') },
        behind: { needs: ['no'], job: chat('behind') },
        both: {
          needs: ['yes', 'no'],
          needs_any: true,
          job: chat('${{ not_null(steps.no.status, `1`) }} ${{ steps.yes.status }}'),
        },
        neither: { needs: ['no', 'nothing'], needs_any: true, job: chat('neither') },
      },
      output: '${{ steps.behind.result.choices }}',
    })
    expect(statuses(flow)).toEqual({
      yes: 'completed',
      no: 'skipped',
      nothing: 'skipped',
      behind: 'skipped',
      both: 'completed',
      neither: 'skipped',
    })
    expect(flow).toMatchObject({ status: 'completed', output: null })
  })

  it.concurrent('fails with unresolved_reference, and never says null in a prompt', async ({ expect }) => {
    const flow = await shop().run({
      on_failure: 'continue',
      steps: {
        first: { job: echo('{"a":1}') },
        second: { job: chat('Say ${{ json(steps.first.result.metadata.text).b }}') },
        list: { for_each: '${{ json(steps.first.result.metadata.text).b }}', job: chat('x') },
        noList: { for_each: '${{ json(steps.first.result.metadata.text).a }}', job: chat('x') },
        noJson: { job: chat('${{ json(steps.first.result.id) }}') },
        other: { job: chat('independent') },
      },
    })
    expect(statuses(flow)).toEqual({
      first: 'completed',
      second: 'failed',
      list: 'failed',
      noList: 'failed',
      noJson: 'failed',
      other: 'completed',
    })
    expect(flow.steps.second!.error).toMatchObject({ code: 'unresolved_reference' })
    expect(flow.steps.second!.error!.message).toBe(
      'steps.second.job.body.messages[0].content: ${{ json(steps.first.result.metadata.text).b }} has no value',
    )
    expect(flow.steps.list!.error!.code).toBe('unresolved_reference')
    expect(flow.steps.noList!.error!.code).toBe('invalid_for_each')
    expect(flow.steps.noJson!.error!.code).toBe('expression_failed')
    expect(flow).toMatchObject({ status: 'failed', error: { code: 'unresolved_reference' } })
    expect(JSON.stringify(flow)).not.toContain('Say null')
  })
})

describe('failures', () => {
  it.concurrent('stop cancels what still runs, continue lets other branches end', async ({ expect }) => {
    const steps = {
      slow: { job: chat('[[fault:slow:ms=1500]] slow') },
      bad: { job: failing },
      behind: { needs: ['bad'], job: chat('behind bad') },
      later: { needs: ['slow'], job: chat('later') },
    }
    const [stopped, continued] = await Promise.all([
      shop().run({ steps }),
      shop().run({ steps, on_failure: 'continue' }),
    ])
    expect(statuses(stopped)).toEqual({
      slow: 'cancelled',
      bad: 'failed',
      behind: 'cancelled',
      later: 'cancelled',
    })
    expect(stopped).toMatchObject({
      status: 'failed',
      error: { message: expect.stringMatching(/^step bad: /) },
    })
    expect(stopped.steps.bad!.error).toMatchObject({ provider_status: 400 })
    await expect.poll(async () => (await shop().job(stopped.steps.slow!.job_id!)).status).toBe('cancelled')
    expect(statuses(continued)).toEqual({
      slow: 'completed',
      bad: 'failed',
      behind: 'skipped',
      later: 'completed',
    })
    expect(continued.status).toBe('failed')
  })

  it.concurrent('follows the on_failure of a step', async ({ expect }) => {
    const flow = await shop().run({
      input: { d: 5 },
      steps: {
        skipped: { on_failure: 'skip', job: failing },
        valued: {
          on_failure: { value: { text: 'stand-in ${{ input.d }}', n: '${{ input.d }}' } },
          job: failing,
        },
        behind: { needs: ['skipped'], job: chat('behind skipped') },
        reads: { job: echo('got ${{ steps.valued.result.text }}') },
      },
      output: '${{ steps.valued.result }}',
    })
    expect(statuses(flow)).toEqual({
      skipped: 'skipped',
      valued: 'completed',
      behind: 'skipped',
      reads: 'completed',
    })
    expect(flow.steps.skipped!.error).toMatchObject({ provider_status: 400 })
    expect(flow).toMatchObject({ status: 'completed', output: { text: 'stand-in 5', n: 5 } })
  })

  it.concurrent('are values too large to keep: an output, or the replacement of a failed result', async ({
    expect,
  }) => {
    const many = Array(300).fill('${{ steps.a.result.metadata.text }}')
    const a = { job: echo('x'.repeat(60_000)) }
    const [output, fallback] = await Promise.all([
      shop().run({ steps: { a }, output: many }),
      shop().run({ steps: { a, b: { needs: ['a'], job: failing, on_failure: { value: many } } } }),
    ])
    expect(output).toMatchObject({
      status: 'failed',
      output: null,
      error: { code: 'value_too_large', message: expect.stringMatching(/^output: .*flows\.max_value/) },
    })
    expect(fallback.steps.b!.error).toMatchObject({
      code: 'value_too_large',
      message: expect.stringMatching(/^steps\.b\.on_failure\.value: /),
    })
  })

  it.concurrent('lets elements fail as many as allowed, with null in their place', async ({ expect }) => {
    const list = ['a', '[[fault:400]] b', 'c', '[[fault:400]] d']
    const step = (allow_failures: number) => ({
      for_each: '${{ input.list }}',
      allow_failures,
      job: chat('${{ item }}'),
    })
    const [allowed, failed] = await Promise.all([
      shop().run({ input: { list }, steps: { each: step(2) }, output: '${{ steps.each.result[*].object }}' }),
      shop().run({ input: { list }, steps: { each: step(1) } }),
    ])
    expect(allowed).toMatchObject({ status: 'completed', output: ['chat.completion', 'chat.completion'] })
    expect(allowed.steps.each).toMatchObject({ jobs: { total: 4, completed: 2, failed: 2 } })
    expect((allowed.steps.each!.result as unknown[]).map((one) => one === null)).toEqual([
      false,
      true,
      false,
      true,
    ])
    expect(failed).toMatchObject({
      status: 'failed',
      steps: { each: { status: 'failed', error: { message: expect.stringMatching(/^element \d: /) } } },
    })
  })

  it.concurrent('goes on from what failed, and runs nothing again that completed', async ({ expect }) => {
    const mark = `retry-${Math.random()}`
    const flow = await shop().run({
      steps: {
        first: { job: chat(`${mark} first`) },
        each: { for_each: ['x', `[[fault:400:times=1]] ${mark}`, 'y'], job: chat(`\${{ item }} ${mark}`) },
        after: { needs: ['first', 'each'], job: chat(`${mark} after`) },
      },
    })
    expect(flow).toMatchObject({ status: 'failed', steps: { first: { status: 'completed' } } })
    const retried = await shop().call('POST', `/v1/flows/${flow.id}/retry`)
    expect(retried).toMatchObject({ status: 200, body: { status: 'running', error: null, retries: 1 } })
    const ended = await shop().until(flow.id)
    expect(ended).toMatchObject({
      status: 'completed',
      steps: { each: { jobs: { total: 3, completed: 3, failed: 0 } } },
    })
    expect(ended.steps.first).toEqual(flow.steps.first)
    // A step that begins again has an event.
    const started: string[] = []
    for await (const { event, data } of shop().follow(flow.id))
      if (event === 'step.started') started.push(data.step!)
    expect(started).toEqual(['first', 'each', 'each', 'after'])
    const again = await shop().call<ErrorBody>('POST', `/v1/flows/${flow.id}/retry`)
    expect(again).toMatchObject({ status: 409, body: { error: { code: 'not_retryable' } } })
  })

  it.concurrent('fails a flow that would exceed its budget, or has not ended by its deadline', async ({
    expect,
  }) => {
    const deadline = new Date(Date.now() + 700).toISOString()
    const [poor, late] = await Promise.all([
      shop().run({ budget_usd: 0.000001, steps: { a: { job: chat('costs more than that') } } }),
      shop().run({
        deadline,
        steps: { a: { wait_for_signal: {} }, b: { job: chat('[[fault:slow:ms=3000]] x') } },
      }),
    ])
    expect(poor).toMatchObject({
      status: 'failed',
      steps: { a: { status: 'failed', error: { code: 'budget_exhausted' } } },
    })
    expect(late).toMatchObject({ status: 'failed', error: { code: 'deadline_exceeded' } })
    expect(statuses(late)).toEqual({ a: 'cancelled', b: 'cancelled' })
  })
})

describe('steering', () => {
  it.concurrent('takes no signal without a body, and null as one', async ({ expect }) => {
    const { id } = await shop().create({ steps: { a: { wait_for_signal: {} } } })
    await shop().until(id, ({ event }) => event === 'step.waiting')
    const none = await shop().call<ErrorBody>('POST', `/v1/flows/${id}/signals/a`)
    expect(none).toMatchObject({ status: 400, body: { error: { param: 'body' } } })
    expect((await shop().call('POST', `/v1/flows/${id}/signals/a`, 'null')).status).toBe(200)
    expect(await shop().until(id)).toMatchObject({ status: 'completed', steps: { a: { signal: null } } })
  })

  it.concurrent('waits for a signal, once, and lets expressions read it', async ({ expect }) => {
    const { id } = await shop().create({
      steps: {
        draft: { job: chat('draft') },
        approve: { needs: ['draft'], wait_for_signal: { timeout: '1h' } },
        publish: { when: '${{ steps.approve.signal.ok }}', job: echo('by ${{ steps.approve.signal.who }}') },
      },
      output: '${{ steps.publish.result.metadata.text }}',
    })
    const waiting = await shop().until(id, ({ event }) => event === 'step.waiting')
    expect(waiting).toMatchObject({
      status: 'waiting',
      steps: { approve: { status: 'waiting' }, publish: { status: 'blocked' } },
    })
    const listed = await shop().call<{ data: FlowView[] }>('GET', '/v1/flows?status=waiting')
    expect(listed.body.data.map((one) => one.id)).toContain(id)
    for (const [step, status] of [
      ['draft', 400],
      ['nope', 404],
    ] as const) {
      expect((await shop().call('POST', `/v1/flows/${id}/signals/${step}`, {})).status).toBe(status)
    }
    const foreign = await shop().call(
      'POST',
      `/v1/flows/${id}/signals/approve`,
      {},
      { authorization: `Bearer ${OTHER}` },
    )
    expect(foreign.status).toBe(404)
    const answers = await Promise.all(
      [1, 2, 3].map(() => shop().call('POST', `/v1/flows/${id}/signals/approve`, { ok: true, who: 'Ada' })),
    )
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 409, 409])
    const flow = await shop().until(id)
    expect(flow).toMatchObject({
      status: 'completed',
      output: 'by Ada',
      steps: { approve: { signal: { ok: true, who: 'Ada' } } },
    })
  })

  it.concurrent('takes a signal before its step waits, any JSON, and times out without one', async ({
    expect,
  }) => {
    const early = await shop().create({
      steps: {
        slow: { job: chat('[[fault:slow:ms=300]] x') },
        go: { needs: ['slow'], wait_for_signal: {} },
        after: { job: echo('${{ steps.go.signal }}') },
      },
    })
    expect((await shop().call('POST', `/v1/flows/${early.id}/signals/go`, '"now"')).status).toBe(200)
    const [ended, late, valued] = await Promise.all([
      shop().until(early.id),
      shop().run({ steps: { go: { wait_for_signal: { timeout: '200ms' } } } }),
      shop().run({
        steps: { go: { wait_for_signal: { timeout: '200ms' }, on_failure: { value: { ok: false } } } },
        output: '${{ steps.go.signal.ok }}',
      }),
    ])
    expect(ended).toMatchObject({
      status: 'completed',
      steps: { after: { result: { metadata: { text: 'now' } } } },
    })
    expect(late).toMatchObject({ status: 'failed', steps: { go: { error: { code: 'signal_timeout' } } } })
    expect(valued).toMatchObject({ status: 'completed', output: false })
    expect((await shop().call('POST', `/v1/flows/${late.id}/signals/go`, {})).status).toBe(409)
  })

  it.concurrent('cancels at once, with all jobs, and can be retried then', async ({ expect }) => {
    const { id } = await shop().create({
      group: 'to-cancel',
      steps: {
        each: { for_each: [1, 2, 3], job: chat('[[fault:slow:ms=900]] ${{ item }}') },
        after: { needs: ['each'], job: chat('after all') },
      },
    })
    await shop().until(id, ({ event }) => event === 'step.started')
    const { body, status } = await shop().call('POST', `/v1/flows/${id}/cancel`)
    expect({ status, flow: body.status, steps: statuses(body) }).toEqual({
      status: 200,
      flow: 'cancelled',
      steps: { each: 'cancelled', after: 'cancelled' },
    })
    expect((await shop().call('POST', `/v1/flows/${id}/cancel`)).status).toBe(409)
    expect((await shop().call('POST', `/v1/flows/${id}/retry`)).status).toBe(200)
    const flow = await shop().until(id)
    expect(flow).toMatchObject({
      status: 'completed',
      steps: { each: { jobs: { total: 3, completed: 3, failed: 0 } } },
    })
    const jobs = await shop().call<{ data: { status: string }[] }>(
      'GET',
      '/v1/jobs?status=cancelled&group=to-cancel',
    )
    expect(jobs.body.data).toHaveLength(3)
  })

  it.concurrent('replays events without gaps, from wherever a client left', async ({ expect }) => {
    const flow = await shop().run({
      steps: {
        a: { job: chat('ev a') },
        b: { needs: ['a'], job: chat('ev b') },
        c: { when: false, job: chat('c') },
      },
    })
    const events: FlowEventRead[] = []
    for await (const event of shop().follow(flow.id)) events.push(event)
    expect(events.map(({ data }) => data.seq)).toEqual(events.map((_, at) => at + 1))
    expect(events.map(({ event, data }) => [event, data.step ?? ''].join(' ').trim()).sort()).toEqual(
      [
        'flow.started',
        'step.started a',
        'step.skipped c',
        'step.completed a',
        'step.started b',
        'step.completed b',
        'flow.completed',
      ].sort(),
    )
    expect(events.at(-1)!.data.flow).toEqual(flow)
    const rest: FlowEventRead[] = []
    for await (const event of shop().follow(flow.id, '4')) rest.push(event)
    expect(rest).toEqual(events.slice(4))
    const over = await shop().call('GET', `/v1/flows/${flow.id}/events`, undefined, {
      'last-event-id': events.at(-1)!.id,
    })
    expect(over.status).toBe(204)
  })

  it.concurrent('answers the same flow for the same key, and lists flows by name', async ({ expect }) => {
    const body = { name: `named ${Math.random()}`, steps: { a: { job: chat('same') } } }
    const headers = { 'idempotency-key': body.name.replace(/\W/g, '') }
    const first = await shop().call('POST', '/v1/flows', body, headers)
    const second = await shop().call('POST', '/v1/flows', body, headers)
    const third = await shop().call<ErrorBody>('POST', '/v1/flows', { ...body, input: 1 }, headers)
    expect([first.status, second.status, third.status]).toEqual([202, 200, 422])
    expect(first.headers.get('location')).toBe(`/v1/flows/${first.body.id}`)
    expect([second.body.id, second.headers.get('idempotent-replayed')]).toEqual([first.body.id, 'true'])
    const foreign = await shop().call('GET', `/v1/flows/${first.body.id}`, undefined, {
      authorization: `Bearer ${OTHER}`,
    })
    expect(foreign.status).toBe(404)
    await shop().until(first.body.id)
    const listed = await shop().call<{ data: FlowView[]; has_more: boolean }>(
      'GET',
      `/v1/flows?name=${encodeURIComponent(body.name)}`,
    )
    expect(listed.body.data).toHaveLength(1)
    expect(listed.body.data[0]).toMatchObject({
      id: first.body.id,
      status: 'completed',
      step_counts: { total: 1, completed: 1 },
    })
    expect(listed.body.data[0]).not.toHaveProperty('steps')
  })

  it.concurrent('deletes a flow with its jobs', async ({ expect }) => {
    const flow = await shop().run({
      steps: { a: { job: chat('forget me') }, each: { for_each: [1, 2], job: chat('${{ item }} f') } },
    })
    expect((await shop().call('DELETE', `/v1/flows/${flow.id}`)).status).toBe(200)
    expect((await shop().call('GET', `/v1/flows/${flow.id}`)).status).toBe(404)
    expect((await shop().call('DELETE', `/v1/flows/${flow.id}`)).status).toBe(404)
    const keys = async () =>
      (await keysOf(shop().redis, `${shop().prefix}:*`)).filter(
        (key) => key.includes(flow.id) || key.includes(flow.steps.a!.job_id!),
      )
    await expect.poll(keys).toEqual([])
  })
})

it('appears in the one stream of all events of its tenant, with its jobs', async () => {
  const flow = await shop().run({
    steps: {
      a: { job: chat('in the stream') },
      b: { needs: ['a'], job: chat('[[fault:400]] in the stream') },
    },
  })
  const abort = new AbortController()
  const response = await fetch(`${shop().api.url}/v1/events?flow=${flow.id}`, {
    headers: { authorization: `Bearer ${KEY}` },
    signal: abort.signal,
  })
  let text = ''
  for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
    text += chunk
    if (text.includes('event: flow.failed')) break
  }
  abort.abort()
  const names = [...text.matchAll(/^event: (.+)$/gm)].map(([, name]) => name!)
  const flowEvents = [
    'flow.started',
    'step.started',
    'step.completed',
    'step.started',
    'step.failed',
    'flow.failed',
  ]
  expect(names.filter((name) => !name.startsWith('job.'))).toEqual(flowEvents)
  expect(names.filter((name) => name === 'job.queued')).toHaveLength(2)
})

it('is created, followed, signalled and listed by the client and by the command line', async () => {
  const { flows } = createClient({ url: shop().api.url!, key: KEY })
  const create = {
    name: 'by hand',
    input: { who: 'Ada' },
    steps: {
      ask: { wait_for_signal: {} },
      say: { job: echo('${{ input.who }} says ${{ steps.ask.signal }}') },
    },
    output: '${{ steps.say.result.metadata.text }}',
  } as never
  const { id } = await flows.create(create)
  const seen: string[] = []
  for await (const { type } of flows.events(id)) {
    seen.push(type)
    if (type === 'step.waiting') await flows.signal(id, 'ask', 'yes')
  }
  expect(seen).toEqual([
    'flow.started',
    'step.waiting',
    'step.completed',
    'step.started',
    'step.completed',
    'flow.completed',
  ])
  expect(await flows.wait(id)).toMatchObject({ status: 'completed', output: 'Ada says yes' })
  expect((await flows.list({ name: 'by hand' }).next()).value).toMatchObject({ id })
  expect((await Array.fromAsync(flows.stepJobs(id, 'say')))[0]).toMatchObject({ status: 'completed' })
  await expect(flows.run({ name: 'bad', steps: { a: { job: failing } } } as never)).rejects.toBeInstanceOf(
    FlowFailedError,
  )

  const folder = await mkdtemp(join(tmpdir(), 'sluice-flow-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const path = join(folder, 'flow.yaml')
  await writeFile(
    path,
    `name: from a file\ninput: { n: 1 }\nsteps:\n  a:\n    job: ${JSON.stringify(echo('n is ${{ input.n }}'))}\noutput: \${{ steps.a.result.metadata.text }}\n`,
  )
  const cli = (...args: string[]) => callCli(args, { env: { SLUICE_URL: shop().api.url!, SLUICE_KEY: KEY } })
  const ran = await cli('flows', 'run', path, '--input', '{"n":7}')
  expect(ran).toMatchObject({ code: 0, stdout: 'n is 7\n' })
  expect(ran.stderr).toMatch(/a {2}completed/)
  const made = /flow_\w+/.exec(ran.stderr)![0]
  expect((await cli('flows', 'show', made)).stdout).toMatch(/^flow_\w+ {2}from a file {2}completed/)
  expect((await cli('flows', 'list', '--name', 'from a file')).stdout).toContain(made)
  expect((await cli('flows', 'cancel', made)).code).toBe(1)
  await writeFile(path, JSON.stringify({ name: 'fails', steps: { a: { job: failing } } }))
  expect((await cli('flows', 'run', path)).code).toBe(1)
}, 60_000)

it('runs a list that is longer than one look begins, and keeps its order', async () => {
  const { id } = await shop().create({
    input: { list: Array.from({ length: 700 }, (_, at) => `n${at}`) },
    steps: {
      all: {
        for_each: '${{ input.list }}',
        job: { type: 'embedding', body: { model: 'sim/embed', input: '${{ item }}' } },
      },
      count: { job: echo('${{ length(steps.all.result) }}') },
    },
    output: '${{ steps.count.result.metadata.text }}',
  })
  const flow = await shop().until(id)
  expect(flow).toMatchObject({
    status: 'completed',
    output: 700,
    steps: { all: { jobs: { total: 700, completed: 700 }, result: null, result_omitted: true } },
  })
  type Page = {
    data: { index: number; job: { flow: { index: number } } }[]
    has_more: boolean
    total: number
  }
  const { body } = await shop().call<Page>('GET', `${flow.steps.all!.result_url}?from=690`)
  expect(body.data.map(({ index, job }) => [index, job.flow.index])).toEqual(
    Array.from({ length: 10 }, (_, at) => [690 + at, 690 + at]),
  )
  expect(body).toMatchObject({ has_more: false, total: 700 })
}, 60_000)
