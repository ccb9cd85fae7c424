import fc from 'fast-check'
import { expect, it } from 'vitest'
import { formatCursor, type Position, parseCursor } from '../../../events/cursor.ts'
import { readPage, type StreamEntry } from '../../../events/page.ts'

/** What happens to some jobs, step by step: an event, or some chunks; and how Redis' clock advances in between. */
type Step = { job: number; chunks: number; ms: number }
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.record({
    job: fc.integer({ min: 1, max: 3 }),
    chunks: fc.constantFrom(0, 0, 1, 3),
    ms: fc.constantFrom(0, 0, 0, 1, 7),
  }),
  { maxLength: 40 },
)

/** The two streams as scripts write them; up to `together` events of one time share an entry. */
function write(history: Step[], together: number) {
  const events: StreamEntry[] = []
  const deltas: StreamEntry[] = []
  const seqs = new Map<string, number>()
  let ms = 1000
  const add = (stream: StreamEntry[], id: string, text: string, mayShare: boolean) => {
    const last = stream.at(-1)
    if (mayShare && last?.[0].startsWith(`${ms}-`) && last[1].length < 2 * together) last[1].push(id, text)
    else {
      const [lastMs, count] = (last?.[0] ?? '0-0').split('-').map(Number)
      stream.push([lastMs === ms ? `${ms}-${count! + 1}` : `${ms}-0`, [id, text]])
    }
  }
  let wasEvent = false
  for (const { job, chunks, ms: passed } of history) {
    ms += passed
    const id = `job_${job}`
    const seq = (seqs.get(id) ?? 0) + 1
    if (chunks === 0) add(events, id, `${seq} job.retrying`, wasEvent && passed === 0)
    else add(deltas, id, `${seq} ${chunks}`, false)
    wasEvent = chunks === 0
    seqs.set(id, seq + Math.max(0, chunks - 1))
  }
  return { events, deltas }
}

/** As the store answers: so many entries, from a given place on. */
const read = (entries: StreamEntry[], from: string | undefined, most: number) => {
  const at = from === undefined ? 0 : entries.findIndex(([id]) => id === from)
  return entries.slice(Math.max(0, at)).slice(0, most)
}

it('has every event once, those of a job in order, from any cursor, however much is read at once', async () => {
  await fc.assert(
    fc.asyncProperty(
      steps,
      fc.integer({ min: 1, max: 4 }),
      fc.integer({ min: 2, max: 60 }),
      fc.boolean(),
      async (history, together, most, withDeltas) => {
        const { events, deltas } = write(history, together)
        const follow = async (cursor: string) => {
          const told: { name: string; id: string; seq: number; cursor: string }[] = []
          let position: Position = parseCursor(cursor)!
          for (;;) {
            const page = await readPage(
              async (at, count) => ({
                events: read(events, at.events?.entry, count),
                deltas: withDeltas ? read(deltas, at.deltas?.entry, count) : null,
              }),
              position,
              most,
            )
            for (const { reference, position: behind } of page.references) {
              const { id, seq } = reference
              told.push({ name: `${id} ${seq}`, id, seq, cursor: formatCursor(behind) })
            }
            position = page.end
            if (page.isLast) return told
            if (told.length > 1000) throw new Error('it goes on and on')
          }
        }
        const all = await follow('')
        const expected = new Set<string>()
        const seqs = new Map<number, number>()
        for (const { job, chunks } of history) {
          for (let at = 0; at < Math.max(1, chunks); at++) {
            const seq = (seqs.get(job) ?? 0) + 1
            seqs.set(job, seq)
            if (withDeltas || chunks === 0) expected.add(`job_${job} ${seq}`)
          }
        }
        expect(new Set(all.map(({ name }) => name))).toEqual(expected)
        expect(all.length).toBe(expected.size)
        for (const [, own] of Map.groupBy(all, ({ id }) => id)) {
          expect(own.map(({ seq }) => seq)).toEqual(own.map(({ seq }) => seq).sort((a, b) => a - b))
        }
        for (const [at, { cursor }] of all.entries()) {
          expect((await follow(cursor)).map(({ name }) => name)).toEqual(
            all.slice(at + 1).map(({ name }) => name),
          )
        }
      },
    ),
    {
      numRuns: 300,
      // Chunks of a job in front of its event, all at one time, and more of them than a page has.
      examples: [
        [
          [
            { job: 1, chunks: 1, ms: 0 },
            { job: 1, chunks: 1, ms: 0 },
            { job: 3, chunks: 3, ms: 0 },
            { job: 3, chunks: 0, ms: 0 },
          ],
          1,
          2,
          true,
        ],
      ],
    },
  )
})

it.each(['', '0', '1-2', '1-2.3', '1-2~3-4.5', '7~8-0'])('accepts %j as a cursor', (text) => {
  expect(parseCursor(text)).not.toBeNull()
})

it.each(['x', '-1', '1-', '1-2.', '1-2~', '1-2~3-4~5', '1.2', ' 1', `${'9'.repeat(16)}`])(
  'does not accept %j as one',
  (text) => {
    expect(parseCursor(text)).toBeNull()
  },
)
