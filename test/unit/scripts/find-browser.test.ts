import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { findBrowser } from '../../../scripts/find-browser.ts'

let folder = ''
const lines: string[] = []
const log = (line: string) => void lines.push(line)

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'find-browser-'))
  lines.length = 0
})
afterEach(async () => {
  vi.unstubAllEnvs()
  await rm(folder, { recursive: true })
})

test('takes the browser that CHROMIUM_PATH names', async () => {
  vi.stubEnv('CHROMIUM_PATH', '/somewhere/chromium')
  expect(await findBrowser({ log })).toBe('/somewhere/chromium')
})

test('finds one on the path without a message', async () => {
  vi.stubEnv('CHROMIUM_PATH', '')
  vi.stubEnv('PATH', folder)
  const file = join(folder, 'chromium')
  await writeFile(file, '')
  await chmod(file, 0o755)
  expect(await findBrowser({ log })).toBe(file)
  expect(lines).toEqual([])
})
