import type { Files } from '../files/files.ts'
import type { HeldFiles } from '../files/held-files.ts'
import type { EmbeddingCache } from '../jobs/embedding-cache.ts'
import type { PromptPrefixes } from '../jobs/prompt-prefixes.ts'
import type { Work } from '../jobs/work.ts'
import type { Spool } from './spool.ts'

/** What a worker's calls read and write: in Redis, and on the disk while Redis takes nothing. */
export type CallStore = {
  work: Work
  embeddingCache: EmbeddingCache
  prefixes: PromptPrefixes
  /** Where the bytes of answers are stored. */
  files: Pick<Files, 'newId' | 'get' | 'read' | 'writePart' | 'discard'>
  heldFiles: Pick<HeldFiles, 'put'>
  /** Results that the store could not take. */
  spool: Pick<Spool, 'put' | 'isRecovering'>
  /** Whether Redis answers, within 3 s. Never throws. */
  isThere: () => Promise<boolean>
}
