import { glob, readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { chooseSeed, SEED_VARIABLE, seed } from '../../helpers/seed.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))

describe('the seed of a run', () => {
  it('is one and the same in CI, and another each time elsewhere', () => {
    expect(chooseSeed({ CI: 'true' }, () => 0.1)).toBe(chooseSeed({ CI: '1' }, () => 0.9))
    expect(chooseSeed({}, () => 0.1)).not.toBe(chooseSeed({ CI: '' }, () => 0.9))
    expect(chooseSeed({}, () => 0.999_999_999_9)).toBeLessThan(2 ** 31)
  })

  it('is what its variable says, everywhere', () => {
    for (const CI of [undefined, 'true']) expect(chooseSeed({ CI, [SEED_VARIABLE]: '7' })).toBe(7)
  })

  it.each(['x', '-1', '1.5', '2147483648', '1e99'])('is refused where it is %s', (given) => {
    expect(() => chooseSeed({ [SEED_VARIABLE]: given })).toThrow(
      `SLUICE_SEED has to be a whole number from 0 to 2147483647, not ${given}`,
    )
  })

  it('is that of every property', () => {
    expect(fc.readConfigureGlobal()?.seed).toBe(seed)
    const draw = () => fc.sample(fc.integer(), 20)
    expect(draw()).toEqual(draw())
  })

  // A test with a seed of its own fails by chance, in a commit that did not break it.
  it('is the only one that is random', async () => {
    const found: string[] = []
    for await (const path of glob('test/**/*.ts', { cwd: root, exclude: ['**/node_modules/**'] })) {
      if (path === 'test/helpers/seed.ts' || path.startsWith('test/faults/')) continue
      const lines = (await readFile(`${root}/${path}`, 'utf8')).split('\n')
      found.push(...lines.filter((line) => choosesSeed(line)).map((line) => `${path}: ${line}`))
    }
    expect(found).toEqual([])
  })

  it.each([
    ['const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31)', true],
    ['const SEED = Math.floor(Math.random() * 1e6)', true],
    ['{ seed: performance.now() }', true],
    ['const seed = 7', false],
    ['const id = Math.random()', false],
  ])('%j is another: %s', (line, isOther) => {
    expect(choosesSeed(line)).toBe(isOther)
  })
})

function choosesSeed(line: string): boolean {
  return /seed\b.*(?:\bnow\(\)|Math\.random)/i.test(line) && !line.trimStart().startsWith('[')
}
