import { hash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'

/** Digests of the scripts that may run, and their names: `jobs:create`, `gate:take`, `bullmq:addJob`. */
export async function readScriptNames(): Promise<Map<string, string>> {
  return new Map([
    ...(await readFolder('jobs', new URL('../jobs/lua/', import.meta.url))),
    ...(await readFolder('gate', new URL('../ratelimit/lua/', import.meta.url))),
    ...(await readBullScripts()),
  ])
}

/** Every script is sent with its folder's `common.lua` in front. */
async function readFolder(prefix: string, folder: URL): Promise<[digest: string, name: string][]> {
  const read = (name: string) => readFile(new URL(name, folder), 'utf8')
  const common = await read('common.lua')
  const files = (await readdir(fileURLToPath(folder))).filter((file) => file !== 'common.lua')
  return Promise.all(
    files.map(async (file): Promise<[string, string]> => {
      const text = `${common}\n${await read(file)}`
      return [hash('sha1', text), `${prefix}:${file.replace('.lua', '')}`]
    }),
  )
}

type BullScript = { name: string; content: string }

/** BullMQ keeps them where its package's entry is, one file each; should it move them, they go by their digests. */
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
