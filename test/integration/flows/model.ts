import fc from 'fast-check'

/** A step of a random flow: the outcome of its jobs, and its settings. */
export type ModelStep = {
  needs: number[]
  needsAny: boolean
  when: boolean
  /** How many elements, and how many of them fail; null: one job. */
  each: { count: number; failing: number; allowed: number } | null
  fails: boolean
  onFailure: 'fail' | 'skip' | 'value'
}
type Outcome = 'completed' | 'failed' | 'skipped'

/** Random flows: each step needs some of those before it. */
export const flowArbitrary: fc.Arbitrary<ModelStep[]> = fc
  .array(
    fc.record({
      picks: fc.array(fc.nat(20), { maxLength: 3 }),
      needsAny: fc.boolean(),
      when: fc.integer({ min: 0, max: 9 }).map((n) => n > 1),
      each: fc.option(fc.record({ count: fc.nat(4), failing: fc.nat(2), allowed: fc.nat(2) }), { freq: 2 }),
      fails: fc.integer({ min: 0, max: 9 }).map((n) => n > 7),
      onFailure: fc.constantFrom('fail' as const, 'skip' as const, 'value' as const),
    }),
    { minLength: 1, maxLength: 9 },
  )
  .map((steps) =>
    steps.map(({ picks, ...step }, at) => ({
      ...step,
      each: step.each && { ...step.each, failing: Math.min(step.each.failing, step.each.count) },
      needs: at === 0 ? [] : [...new Set(picks.map((pick) => pick % at))],
    })),
  )

/** The outcome of each step, if no failure stops the others. */
export function foresee(steps: ModelStep[]): Outcome[] {
  const outcomes: Outcome[] = []
  for (const step of steps) {
    const needed = step.needs.map((need) => outcomes[need]!)
    const completed = needed.filter((one) => one === 'completed').length
    const isEnough = step.needsAny ? needed.length === 0 || completed > 0 : completed === needed.length
    const fails = step.each === null ? step.fails : step.each.failing > step.each.allowed
    if (!isEnough || !step.when) outcomes.push('skipped')
    else if (!fails) outcomes.push('completed')
    else outcomes.push(({ fail: 'failed', skip: 'skipped', value: 'completed' } as const)[step.onFailure])
  }
  return outcomes
}

/** The same flow as a create object; `mark` distinguishes its prompts from those of others. */
export function toCreate(
  steps: ModelStep[],
  mark: string,
  content: (mark: string, fails: boolean) => object,
) {
  const named = steps.map((step, at) => {
    const job =
      step.each === null
        ? content(`${mark} s${at}`, step.fails)
        : content(`\${{ item }} ${mark} s${at} \${{ index }}`, false)
    const items = Array.from({ length: step.each?.count ?? 0 }, (_, index) =>
      index < step.each!.failing ? '[[fault:400]]' : 'fine',
    )
    return [
      `s${at}`,
      {
        job,
        needs: step.needs.map((need) => `s${need}`),
        needs_any: step.needsAny,
        ...(step.when ? {} : { when: '${{ input.no }}' }),
        ...(step.each === null
          ? {}
          : { for_each: items, allow_failures: step.each.allowed, max_in_flight: 2 }),
        on_failure: step.onFailure === 'value' ? { value: 'stand-in' } : step.onFailure,
      },
    ]
  })
  return { name: mark, input: { no: false }, steps: Object.fromEntries(named) }
}
