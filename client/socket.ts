import { SluiceError } from './errors.ts'
import type { AllEvents, EventsOptions, EventTarget, FlowEvent, SluiceEvent } from './events.ts'
import type { CreateJob, ErrorMembers, Job } from './openapi.ts'
import type { sleep } from './sleep.ts'
import { createSubscription, type Subscription } from './socket-subscription.ts'

/** One WebSocket for many jobs. After a broken connection it resumes what it follows, and submits nothing twice. */
export type SluiceSocket = {
  /** Like the client's `events`. */
  events(target: EventTarget, options?: EventsOptions): AsyncGenerator<SluiceEvent, void, undefined>
  events(target: AllEvents, options?: EventsOptions): AsyncGenerator<SluiceEvent | FlowEvent, void, undefined>
  /** Like the client's `submit`, up to 1 MiB. */
  submit(create: CreateJob, options?: { idempotencyKey?: string; signal?: AbortSignal }): Promise<Job>
  /** Closes it with its subscriptions: iterations return. Until then it keeps a connection, and a program alive. */
  close(): void
}

export type SocketDeps = {
  /** Of the server: `http://…`. */
  url: string
  key: string | undefined
  tenant: string | undefined
  WebSocket: typeof WebSocket
  /** The wait before the attempt after `failed` failures, in ms. */
  backOff: (failed: number) => number
  /** The most attempts at a refused message. */
  attempts: number
  createKey: () => string
  sleep: typeof sleep
  /** After how much silence the connection counts as broken, in ms. */
  silenceMs: number
}

type Message =
  | { type: 'event'; id: string; cursor: string; event: string; data: object }
  | { type: 'accepted'; id: string; job: Job }
  | { type: 'end' | 'pong'; id: string }
  | { type: 'cursor'; id: string; cursor: string }
  | { type: 'error'; id: string | null; error: ErrorMembers }

/** An exchange that waits for answers under one id: `send` is called with each connection. */
type Exchange = { send(): void; hear(message: Message): void; fail(error: SluiceError): void }

const MOST_BYTES = 1024 * 1024
/** Close codes that another connection would get too. */
const FINAL = new Set([1008, 4401])
/** Refusals that may pass soon. */
const FOR_NOW = new Set<string>(['rate_limited', 'queue_full', 'unavailable'])

export function createSocket(deps: SocketDeps): SluiceSocket {
  const exchanges = new Map<string, Exchange>()
  let socket: WebSocket | null = null
  let isRunning = false
  let isClosed = false
  let ids = 0
  let breakOff = () => {}

  const send = (message: object) => {
    if (socket?.readyState === 1) socket.send(JSON.stringify(message))
  }

  /** One connection, from its handshake to its end; answers the code of its close. */
  function connect(): Promise<{ code: number; reason: string; wasHeard: boolean }> {
    return new Promise((resolve) => {
      const own = new deps.WebSocket(`${deps.url.replace(/\/+$/, '').replace(/^http/, 'ws')}/v1/ws`)
      let heardAt = performance.now()
      let wasHeard = false
      const end = (code: number, reason: string) => {
        clearInterval(timer)
        socket = null
        resolve({ code, reason, wasHeard })
        own.close()
      }
      breakOff = () => end(1000, 'closed')
      const timer = setInterval(() => {
        if (performance.now() - heardAt > deps.silenceMs) end(1006, `silent for ${deps.silenceMs} ms`)
        else send({ type: 'ping' })
      }, deps.silenceMs / 3)
      own.onopen = () => {
        socket = own
        const { key, tenant } = deps
        if (key !== undefined) send({ type: 'auth', key, ...(tenant !== undefined && { tenant }) })
        for (const exchange of [...exchanges.values()]) exchange.send()
      }
      own.onmessage = ({ data }) => {
        heardAt = performance.now()
        wasHeard = true
        const message = JSON.parse(String(data)) as Message
        if (message.id !== null) exchanges.get(message.id)?.hear(message)
      }
      own.onclose = ({ code, reason }) => end(code, reason)
    })
  }

  /** Connects for as long as it is not closed. */
  async function run(): Promise<void> {
    if (isRunning || isClosed) return
    isRunning = true
    for (let failed = 1; !isClosed; failed++) {
      const { code, reason, wasHeard } = await connect()
      if (FINAL.has(code)) {
        const refused = code === 4401 ? 'unauthorized' : 'forbidden'
        failAll(
          new SluiceError({
            status: null,
            code: refused,
            message: `the server closed the socket: ${reason}`,
          }),
        )
        break
      }
      if (wasHeard) failed = 1
      if (!isClosed) await deps.sleep(deps.backOff(failed))
    }
    isRunning = false
  }

  function failAll(error: SluiceError): void {
    for (const exchange of [...exchanges.values()]) exchange.fail(error)
    exchanges.clear()
  }

  function toError({ code, message, param }: ErrorMembers): SluiceError {
    return new SluiceError({ status: null, code, message, param, isRetryable: FOR_NOW.has(code) })
  }

  /** Follows the target, under a new id each time that the server is asked. */
  function follow(target: EventTarget | AllEvents, subscription: Subscription) {
    let id: string | null = null
    let isStopping = false
    let refusals = 0

    function begin(): void {
      if (id !== null) exchanges.delete(id)
      id = `s${++ids}`
      isStopping = false
      exchanges.set(id, exchange)
      exchange.send()
    }
    function stop(): void {
      if (id === null) return
      exchanges.delete(id)
      send({ type: 'unsubscribe', id })
      id = null
    }
    const exchange: Exchange = {
      send() {
        // Its reader has not taken all that came; it begins again when that is done.
        if (isStopping) return stop()
        const { cursor: after } = subscription
        send({ type: 'subscribe', id, ...toTarget(target), ...(after !== undefined && { after }) })
      },
      hear(message) {
        if (message.type === 'event') {
          const { cursor, event, data } = message
          refusals = 0
          if (subscription.push({ id: cursor, type: event, data } as SluiceEvent) || isStopping) return
          isStopping = true
          send({ type: 'unsubscribe', id })
        } else if (message.type === 'cursor') subscription.mark(message.cursor)
        else if (message.type === 'end') {
          if (!isStopping) return subscription.end()
          exchanges.delete(id!)
          id = null
          if (subscription.wantsMore()) begin()
        } else if (message.type === 'error') {
          const error = toError(message.error)
          if (!error.isRetryable || ++refusals >= deps.attempts) return subscription.end(error)
          deps.sleep(deps.backOff(refusals)).then(() => {
            if (id !== null) begin()
          })
        }
      },
      fail: (error) => subscription.end(error),
    }
    return {
      begin,
      stop,
      resume() {
        if (id === null) begin()
      },
    }
  }

  async function* events(target: EventTarget | AllEvents, { after, signal }: EventsOptions = {}) {
    if (isClosed) return
    const subscription = createSubscription(after, signal, () => following.resume())
    const following = follow(target, subscription)
    open.add(subscription)
    following.begin()
    run()
    try {
      for (;;) {
        const event = await subscription.next()
        if (event === null) return
        yield event
      }
    } finally {
      open.delete(subscription)
      following.stop()
    }
  }
  const open = new Set<Subscription>()

  return {
    events: events as SluiceSocket['events'],
    submit(create, { idempotencyKey = deps.createKey(), signal } = {}) {
      return new Promise<Job>((resolve, reject) => {
        if (signal?.aborted) return reject(signal.reason)
        const id = `j${++ids}`
        const message = { type: 'submit', id, job: create, idempotency_key: idempotencyKey }
        if (new TextEncoder().encode(JSON.stringify(message)).length > MOST_BYTES) {
          const text = 'the job is larger than 1 MiB; submit it by HTTP'
          return reject(new SluiceError({ status: null, code: 'payload_too_large', message: text }))
        }
        const onAbort = () => done(() => reject(signal?.reason))
        signal?.addEventListener('abort', onAbort, { once: true })
        function done(settle: () => void): void {
          exchanges.delete(id)
          signal?.removeEventListener('abort', onAbort)
          settle()
        }
        let refusals = 0
        const exchange: Exchange = {
          send: () => send(message),
          hear(answer) {
            if (answer.type === 'accepted') done(() => resolve(answer.job))
            if (answer.type !== 'error') return
            const error = toError(answer.error)
            if (!error.isRetryable || ++refusals >= deps.attempts) return done(() => reject(error))
            deps.sleep(deps.backOff(refusals)).then(() => {
              if (exchanges.has(id)) exchange.send()
            })
          },
          fail: (error) => done(() => reject(error)),
        }
        exchanges.set(id, exchange)
        if (isClosed) return exchange.fail(closedError())
        exchange.send()
        run()
      })
    },
    close() {
      isClosed = true
      for (const subscription of open) subscription.end()
      failAll(closedError())
      breakOff()
    },
  }
}

function closedError(): SluiceError {
  return new SluiceError({
    status: null,
    code: 'unreachable',
    message: 'the socket was closed',
    isRetryable: true,
  })
}

function toTarget(target: EventTarget | AllEvents): object {
  if (typeof target === 'string') return { job: target }
  if (!('all' in target)) return target
  const { all, deltas, event, ...filter } = target
  const names = event === undefined || typeof event === 'string' ? event : event.join(',')
  return {
    all,
    ...(deltas && { deltas }),
    filter: { ...filter, ...(names !== undefined && { event: names }) },
  }
}
