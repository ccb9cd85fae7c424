export const SEED_VARIABLE = 'SLUICE_SEED'

/** The seed in CI, where the same commit has to get the same answer in every run. */
const CI_SEED = 20_261_130
/** fast-check takes seeds of 32 bits. */
const SEEDS = 2 ** 31

type Environment = Readonly<Record<string, string | undefined>>

/**
 * The seed of a run: the one in `SLUICE_SEED`, else a fixed one in CI and a random one elsewhere.
 *
 * @throws Error when `SLUICE_SEED` is not a whole number from 0 to 2^31 - 1
 */
export function chooseSeed(env: Environment, random: () => number = Math.random): number {
  const given = env[SEED_VARIABLE]
  if (given !== undefined && given !== '') {
    const seed = Number(given)
    if (!Number.isInteger(seed) || seed < 0 || seed >= SEEDS)
      throw new Error(`${SEED_VARIABLE} has to be a whole number from 0 to ${SEEDS - 1}, not ${given}`)
    return seed
  }
  return env.CI ? CI_SEED : Math.floor(random() * SEEDS)
}

/** The seed of this run, for all tests that choose at random. The global setup has chosen and printed it. */
export const seed = chooseSeed(process.env)
