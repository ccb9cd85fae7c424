import { useState } from 'preact/hooks'
import { countOf } from '../format.ts'

/** A button that counts what an action would change, and the count. */
export function DryRun({ tried, onTry }: { tried: { matched: number } | null; onTry: () => Promise<void> }) {
  const [failure, setFailure] = useState<string | null>(null)
  const run = () => {
    setFailure(null)
    onTry().catch((error: Error) => setFailure(error.message))
  }
  return (
    <div class="dry-run">
      <button type="button" onClick={run}>
        Dry run
      </button>
      <span role="status">
        {failure ??
          (tried === null ? (
            <span class="muted">Counts them first; nothing is changed.</span>
          ) : (
            <>
              <b class="num">{countOf(tried.matched, 'job')}</b> {tried.matched === 1 ? 'matches' : 'match'}.
            </>
          ))}
      </span>
    </div>
  )
}
