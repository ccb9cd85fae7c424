import { hash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { readScripts } from '../jobs/scripts.ts'
import { withEventReferences } from '../lib/event-references.ts'
import { readGateFunction } from '../ratelimit/scripts.ts'

/** Digests of the scripts that may run, and their names: `jobs:create`, `gate:take`, `bullmq:moveToFinished`. */
export async function readScriptNames(): Promise<Map<string, string>> {
  const jobs = [...readScripts(readGateFunction())].map(([name, lua]): [string, string] => [
    hash('sha1', lua),
    `jobs:${name}`,
  ])
  return new Map([
    ...jobs,
    ...(await readFolder('jobs', new URL('../jobs/lua/', import.meta.url))),
    ...(await readFolder('gate', new URL('../ratelimit/lua/', import.meta.url))),
    ...(
      await Promise.all(
        FOLDERS.map((folder) => readFolder(folder, new URL(`../${folder}/lua/`, import.meta.url))),
      )
    ).flat(),
    ...(await readBullScripts()),
  ])
}

/** Folders with scripts that are named by them. */
const FOLDERS = [
  'webhooks',
  'batches',
  'provider-batches',
  'durable',
  'events',
  'files',
  'flows',
  'schedules',
  'tenants',
]

/** Most scripts are sent with their folder's `common.lua` in front, some alone, some with the code for events around them. */
async function readFolder(prefix: string, folder: URL): Promise<[digest: string, name: string][]> {
  const files = await readdir(fileURLToPath(folder))
  const texts = await Promise.all(
    files.map(async (file) => ({ file, text: await readFile(new URL(file, folder), 'utf8') })),
  )
  const common = texts.find(({ file }) => file === 'common.lua')?.text
  const turns = texts.find(({ file }) => file === 'turns.lua')?.text
  const grant = texts.find(({ file }) => file === 'grant.lua')?.text
  // The common code itself is no script.
  return texts.flatMap(({ file, text }) => {
    if (text === common) return []
    const name = `${prefix}:${file.replace('.lua', '')}`
    const sent =
      common === undefined ? [text] : [text, `${common}\n${text}`, withEventReferences([common], text)]
    // The script of the gate that grants permits.
    if (grant !== undefined) sent.push(`${common}\n${grant}\n${text}`)
    // The scripts of the queue that know the turns of fair keys.
    if (turns !== undefined) sent.push(`${turns}\n${text}`)
    return sent.map((one): [string, string] => [hash('sha1', one), name])
  })
}

type BullScript = { name: string; content: string }

/**
 * BullMQ keeps its scripts beside its package's entry, one file each; if it moves them, they are listed by their
 * digests.
 */
async function readBullScripts(): Promise<[digest: string, name: string][]> {
  try {
    const exported: Record<string, Partial<BullScript>> = await import(
      new URL('./scripts/index.js', import.meta.resolve('bullmq')).href
    )
    const scripts = Object.values(exported).filter((one): one is BullScript => one.content !== undefined)
    return scripts.map(({ name, content }) => [hash('sha1', content), `bullmq:${name}`])
  } catch {
    return []
  }
}
