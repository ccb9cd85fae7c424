import { Readable } from 'node:stream'
import { text as readText } from 'node:stream/consumers'
import { onTestFinished } from 'vitest'
import { createBatchLineReader, describeLineFailure, showLineResult } from '../../../api/batches/lines.ts'
import type { Batch, NewBatch } from '../../../batches/batch.ts'
import { type BatchRunner, type BatchRunnerDeps, startBatchRunner } from '../../../batches/runner/runner.ts'
import { createBatchScripts } from '../../../batches/scripts.ts'
import { type Batches, createBatches } from '../../../batches/store.ts'
import { createBatchWork } from '../../../batches/work.ts'
import { listModels, resolveModel } from '../../../config/lanes.ts'
import { type Config, configSchema } from '../../../config/schema.ts'
import { resolveTenant } from '../../../config/tenants.ts'
import type { Files } from '../../../files/files.ts'
import type { ObjectStores } from '../../../files/objects.ts'
import { createFileStore } from '../../../files/store.ts'
import { tenantRoot } from '../../../jobs/keys.ts'
import { createIds } from '../../../lib/job-id.ts'
import type { JsonObject } from '../../../lib/json.ts'
import { estimateCost } from '../../../providers/accounting.ts'
import { readCoalesceKey } from '../../../providers/coalesce-key.ts'
import { testSealer } from '../../helpers/encryption.ts'
import { TENANT } from '../../helpers/store.ts'
import { openWorkshop, type WorkshopOptions } from '../workers/fixture.ts'

export const CHAT = '/v1/chat/completions'
export const EMBEDDINGS = '/v1/embeddings'

export type ResultLine = {
  id: string
  custom_id: string
  response: { status_code: number; request_id: string; body: JsonObject } | null
  error: { code: string; message: string } | null
}

export type BatchShop = Awaited<ReturnType<typeof openBatchShop>>

export type BatchShopOptions = WorkshopOptions & {
  /** Limits of the tenant. */
  tenant?: { max_queued?: number; requests_per_minute?: number }
  /** Where files are stored outside of Redis. */
  objects?: ObjectStores
  /** How long a runner's lease of a batch lasts without a renewal, ms. */
  leaseMs?: number
}

/** A workshop with files, batches and runners on demand, put together as services.ts does; closed with the test. */
export async function openBatchShop(options: BatchShopOptions = {}) {
  const workshop = await openWorkshop(options)
  const { store } = workshop
  const { redis, prefix, jobs } = store
  const tenants = configSchema.shape.tenants.parse({
    [TENANT]: { keys: ['a-key-of-acme-0123456789'], limits: options.tenant ?? {} },
    other: { keys: ['a-key-of-other-0123456789'] },
  })
  const settings: { config: Config } = { config: { ...workshop.config, tenants } }
  const clock = { skewMs: 0 }
  const now = () => Date.now() + clock.skewMs
  const batchStore = {
    redis,
    scripts: createBatchScripts(redis),
    root: (tenant: string) => tenantRoot(prefix, tenant),
  }
  const files = createFileStore({
    redis,
    root: batchStore.root,
    now: Date.now,
    newId: createIds('file-', Date.now),
    maxBytes: () => 1e9,
    sealer: testSealer(),
    objects: options.objects ?? null,
  })
  const runners = new Set<BatchRunner>()
  const batches = createBatches({
    ...batchStore,
    newId: createIds('batch_', Date.now),
    wake: async (id) => {
      for (const runner of runners) runner.wake(id)
    },
  })
  const { leaseMs } = options
  const work = createBatchWork({ ...batchStore, ...(leaseMs === undefined ? {} : { leaseMs }) })
  await store.maintenance.register([TENANT, 'other'])

  /** A runner over the same store, with some parts replaced. */
  function startRunner(overrides: Partial<BatchRunnerDeps> = {}): BatchRunner {
    const runner = startBatchRunner({
      work,
      files,
      jobs,
      lines: createBatchLineReader({
        config: () => settings.config,
        submission: {
          resolveModel: (model) => resolveModel(settings.config, model),
          listModels: () => listModels(settings.config),
          estimateCost: (lane, type, body) => ({
            ...estimateCost({ kind: lane.kind, type, body }),
            coalesceKey: readCoalesceKey(type, body),
          }),
          checkWebhookUrl: () => ({ ok: true }),
          batchTurnaround: () => null,
          hasTenants: () => true,
        },
        now,
      }),
      describeFailure: describeLineFailure,
      showResult: showLineResult,
      tenants: store.maintenance.tenants,
      gatherWindow: () => null,
      maxQueued: (tenant) => resolveTenant(settings.config, tenant)?.limits.max_queued ?? null,
      fileRetainMs: () => 3_600_000,
      now,
      onError: (error, what) => workshop.errors.push(`${what}: ${error}`),
      ...overrides,
    })
    runners.add(runner)
    onTestFinished(async () => {
      runners.delete(runner)
      await runner.stop()
    })
    return runner
  }

  async function upload(content: string, tenant = TENANT): Promise<string> {
    const file = { filename: 'input.jsonl', purpose: 'batch', expiresAt: null }
    return (await files.create(tenant, file, Readable.from([Buffer.from(content)]))).id
  }

  async function createBatch(
    content: string,
    members: Partial<NewBatch> = {},
    tenant = TENANT,
  ): Promise<Batch> {
    const outcome = await batches.create(
      tenant,
      {
        endpoint: CHAT,
        inputFileId: await upload(content, tenant),
        completionWindow: '24h',
        windowMs: 24 * 3_600_000,
        metadata: null,
        outputExpiresAfter: null,
        ...members,
      },
      null,
    )
    if (outcome.kind === 'conflict') throw new Error('a key came twice')
    return outcome.batch
  }

  return {
    ...workshop,
    /** Starts a worker, which makes the calls. */
    workshopWork: workshop.work,
    settings,
    clock,
    files,
    batches,
    work,
    startRunner,
    upload,
    createBatch,
  }
}

export async function readLines(files: Files, tenant: string, id: string | null): Promise<ResultLine[]> {
  if (id === null) return []
  const content = await files.read(tenant, id)
  if (content === null) throw new Error(`there is no file ${id}`)
  const lines = (await readText(content)).split('\n')
  if (lines.pop() !== '') throw new Error('the last line has no end')
  return lines.map((line) => JSON.parse(line) as ResultLine)
}

/** Resolves when the batch is over, with its result lines. */
export async function batchEnded(
  { batches, files }: { batches: Batches; files: Files },
  { tenant, id }: Batch,
  timeoutMs = 20_000,
): Promise<{ batch: Batch; output: ResultLine[]; errors: ResultLine[] }> {
  const deadline = performance.now() + timeoutMs
  for (;;) {
    const batch = await batches.get(tenant, id)
    if (batch === null) throw new Error('there is no such batch')
    if (['completed', 'failed', 'expired', 'cancelled'].includes(batch.status)) {
      const output = await readLines(files, tenant, batch.outputFileId)
      return { batch, output, errors: await readLines(files, tenant, batch.errorFileId) }
    }
    if (performance.now() > deadline) throw new Error(`still open: ${JSON.stringify(batch)}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

export function chatLine(customId: string, content: string, members: JsonObject = {}, body: JsonObject = {}) {
  return {
    custom_id: customId,
    method: 'POST',
    url: CHAT,
    body: { model: 'sim/chat', messages: [{ role: 'user', content }], ...body },
    ...members,
  }
}

export function embeddingLine(customId: string, input: string, body: JsonObject = {}) {
  return {
    custom_id: customId,
    method: 'POST',
    url: EMBEDDINGS,
    body: { model: 'sim/embed', input, dimensions: 4, ...body },
  }
}

export function jsonl(lines: object[]): string {
  return lines.map((line) => `${JSON.stringify(line)}\n`).join('')
}

export const customIds = (lines: ResultLine[]) => lines.map((line) => line.custom_id)
