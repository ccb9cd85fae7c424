import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { matchesModel } from '../config/match-model.ts'
import type { CallType } from '../lib/call-type.ts'
import { isJsonObject } from '../lib/json.ts'
import { type BatchApi, createBatchApi } from './batches/api.ts'
import { readBatchSettings } from './batches/options.ts'
import { createCallHandler, type ModelGate } from './calls.ts'
import { createFaultBook } from './faults.ts'
import { readForm } from './forms.ts'
import { createLimiter } from './limiter.ts'
import {
  FAULT_KINDS,
  type FaultRule,
  LINE_FAULT_KINDS,
  resolveOptions,
  type SimulatedLimits,
  type SimulatorOptions,
} from './options.ts'
import { createRandom } from './random.ts'
import { writeMetrics } from './self-hosted.ts'
import { type BilledCall, createRecorder, type SimulatorState } from './state.ts'

export type Simulator = {
  /** Port 0 takes any free port. Resolves to the base URL for clients, `http://host:port/v1`. */
  listen(port?: number, host?: string): Promise<string>
  /** Drops open connections. Resolves when the port is free. */
  close(): Promise<void>
  state(): SimulatorState
  /** The latest billed calls, the oldest first. */
  calls(): BilledCall[]
  /** Like the routes under `/_sim`. */
  setFaults(rules: FaultRule[]): void
  setLimits(limits: SimulatedLimits, model?: string): void
  /** Moves the knee of a self-hosted server, for calls that begin from now on. */
  setKnee(knee: number): void
  batches: Pick<BatchApi, 'set' | 'endAll' | 'batches' | 'files' | 'reset'>
  reset(): void
}

/** Endpoints by the end of their path, so that `/v1`, Azure's and any other prefix work. */
const ENDPOINTS: [end: string, type: CallType][] = [
  ['/chat/completions', 'chat'],
  ['/responses', 'response'],
  ['/embeddings', 'embedding'],
  ['/completions', 'completion'],
  ['/moderations', 'moderation'],
  ['/rerank', 'rerank'],
  ['/images/generations', 'image'],
  ['/images/edits', 'image_edit'],
  ['/audio/speech', 'speech'],
  ['/audio/transcriptions', 'transcription'],
  ['/audio/translations', 'translation'],
]
const DEPLOYMENT = /\/openai\/deployments\/([^/]+)\//
const DEFAULT_MODELS = ['gpt-5-mini', 'text-embedding-3-small']

/**
 * An OpenAI-shaped provider that runs anywhere: deterministic answers, strictly enforced limits, latency, and
 * faults on demand. docs/simulator.md describes its routes and faults.
 */
export function createSimulator(options: SimulatorOptions = {}): Simulator {
  const settings = resolveOptions(options)
  const now = options.now ?? Date.now
  const random = createRandom(settings.seed)
  const recorder = createRecorder(now)
  const faults = createFaultBook(settings.faults, random)
  const changed = new Map<string, SimulatedLimits>()
  const gates = new Map<string, { model: string; key: string | null; gate: ModelGate }>()
  const families = Object.values(settings.families).map(({ models, ...limits }) => ({
    models,
    gate: build(limits),
  }))

  function build(limits: SimulatedLimits): ModelGate {
    return { limits, limiter: createLimiter({ ...settings, limits }), inFlight: 0 }
  }

  function createGate(model: string, key: string | null): ModelGate {
    const ofKey = key === null ? undefined : settings.keyLimits?.[key]
    const configured = ofKey ?? settings.modelLimits[model] ?? settings.limits
    return build(changed.get(model) ?? changed.get('*') ?? configured)
  }

  /** Finds the gate of a model. If keys are configured, each key has gates of its own. */
  function findGate(model: string, key: string | null): ModelGate {
    const name = JSON.stringify([model, key])
    const known = gates.get(name) ?? { model, key, gate: createGate(model, key) }
    gates.set(name, known)
    return known.gate
  }

  function findGates(model: string, key: string | null): ModelGate[] | null {
    const { keyLimits } = settings
    if (keyLimits !== null && (key === null || !Object.hasOwn(keyLimits, key))) return null
    const ofFamilies = families.filter(({ models }) => models.some((one) => matchesModel(one, model)))
    return [findGate(model, keyLimits === null ? null : key), ...ofFamilies.map(({ gate }) => gate)]
  }

  /** Creates new limiters. Calls in flight still count. */
  function rebuildGates(): void {
    const renew = (old: ModelGate, { limits, limiter }: ModelGate) => Object.assign(old, { limits, limiter })
    for (const { model, key, gate } of gates.values()) renew(gate, createGate(model, key))
    for (const { gate } of families) renew(gate, build(gate.limits))
  }

  function setLimits(limits: SimulatedLimits, model = '*'): void {
    changed.set(model, limits)
    rebuildGates()
  }

  function setKnee(knee: number): void {
    if (settings.selfHosted) settings.selfHosted.knee = knee
  }

  function reset(): void {
    recorder.reset()
    faults.reset()
    batches.reset()
    rebuildGates()
  }

  const batches = createBatchApi({ settings, faults, recorder, random, now })
  const handleCall = createCallHandler({ settings, faults, recorder, gates: findGates, random, now })

  function control(route: string, text: string, response: ServerResponse): void {
    const body = parseControl(text)
    let shown: object = { ok: true }
    if (route === 'GET /_sim/state') shown = recorder.state()
    else if (route === 'GET /_sim/calls') shown = { calls: recorder.calls() }
    else if (route === 'GET /_sim/batches') shown = { batches: batches.batches(), files: batches.files() }
    else if (route === 'POST /_sim/batches' && isJsonObject(body)) {
      batches.set(readBatchSettings(body))
      if (body.end === 'complete' || body.end === 'expire') batches.endAll(body.end)
    } else if (route === 'POST /_sim/reset') reset()
    else if (route === 'POST /_sim/faults' && isRuleList(body)) faults.setRules(body)
    else if (route === 'POST /_sim/knee' && isJsonObject(body) && Number(body.knee) > 0)
      setKnee(Number(body.knee))
    else if (route === 'POST /_sim/limits' && isJsonObject(body)) {
      const { model, ...limits } = body
      setLimits(dropNulls(limits), typeof model === 'string' ? model : undefined)
    } else {
      answer(response, 400, { error: { message: 'no such route, or a body that it does not accept' } })
      return
    }
    answer(response, 200, shown)
  }

  function listModels(response: ServerResponse): void {
    const models = settings.models ?? [...new Set([...DEFAULT_MODELS, ...Object.keys(settings.modelLimits)])]
    const data = models.map((id) => ({ id, object: 'model', created: 1_700_000_000, owned_by: 'simulator' }))
    answer(response, 200, { object: 'list', data })
  }

  function handle(request: IncomingMessage, response: ServerResponse, bytes: Buffer): void {
    const path = (request.url ?? '/').split('?', 1)[0]!
    if (path.startsWith('/_sim/')) {
      control(`${request.method} ${path}`, bytes.toString(), response)
      return
    }
    const endpoint = request.method === 'POST' ? ENDPOINTS.find(([end]) => path.endsWith(end)) : undefined
    const ofBatches = endpoint ? null : batches.shownPath(path)
    const shown = endpoint
      ? `/v1${endpoint[0]}`
      : (ofBatches ?? (path.endsWith('/models') ? '/v1/models' : 'other'))
    recorder.start()
    response.on('close', () => recorder.finish(shown, response.writableFinished ? response.statusCode : 499))
    if (endpoint) {
      const match = DEPLOYMENT.exec(path)
      const deployment = match?.[1] ?? null
      const call = { request, response, type: endpoint[1], path: shown, deployment }
      const { 'content-type': sent = '' } = request.headers
      if (!sent.startsWith('multipart/')) handleCall({ ...call, text: bytes.toString() })
      else readForm(bytes, sent).then((text) => handleCall({ ...call, text: text ?? '' }))
    } else if (ofBatches !== null) batches.handle(request, response, bytes)
    else if (shown === '/v1/models') listModels(response)
    else if (settings.selfHosted && request.method === 'GET' && path === '/metrics') {
      const { knee } = settings.selfHosted
      response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' })
      response.end(
        [...gates.values()].map(({ model, gate }) => writeMetrics(model, gate.inFlight, knee)).join(''),
      )
    } else {
      const message = `Unknown request URL: ${request.method} ${path}.`
      answer(response, 404, {
        error: { message, type: 'invalid_request_error', param: null, code: 'unknown_url' },
      })
    }
  }

  const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      handle(request, response, chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks))
    })
    request.on('error', () => {})
    response.on('error', () => {})
  })

  return {
    async listen(port = 0, host = '127.0.0.1') {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject)
        server.listen(port, host, () => {
          server.off('error', reject)
          resolve()
        })
      })
      return `http://${host.includes(':') ? `[${host}]` : host}:${(server.address() as AddressInfo).port}/v1`
    },
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      server.closeAllConnections()
      await closed
    },
    state: recorder.state,
    calls: recorder.calls,
    setFaults: faults.setRules,
    setLimits,
    setKnee,
    batches,
    reset,
  }
}

function answer(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(JSON.stringify(body))
}

function parseControl(text: string): unknown {
  try {
    const body: unknown = JSON.parse(text)
    return isJsonObject(body) && Array.isArray(body.faults) ? body.faults : body
  } catch {
    return null
  }
}

function isRuleList(body: unknown): body is FaultRule[] {
  const kinds: readonly unknown[] = [...FAULT_KINDS, ...LINE_FAULT_KINDS]
  return Array.isArray(body) && body.every((rule) => isJsonObject(rule) && kinds.includes(rule.kind))
}

function dropNulls(limits: Record<string, unknown>): SimulatedLimits {
  const kept: SimulatedLimits = {}
  const names = [
    'requests_per_minute',
    'tokens_per_minute',
    'images_per_minute',
    'audio_seconds_per_minute',
  ] as const
  for (const name of [...names, 'max_concurrency'] as const) {
    const value = limits[name]
    if (typeof value === 'number') kept[name] = value
  }
  return kept
}
