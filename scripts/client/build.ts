import { execFile } from 'node:child_process'
import { rm } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** Writes the client as JavaScript with its types into a folder, which then has nothing else in it. */
export async function buildClient(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true })
  const tsc = ['node_modules/typescript/bin/tsc', '-p', 'client', '--outDir', folder]
  await promisify(execFile)(process.execPath, tsc, { cwd: root }).catch((error: { stdout?: string }) => {
    throw new Error(`the client does not compile:\n${error.stdout}`)
  })
}
