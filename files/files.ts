/** A stored file as its store knows it; api/ shows it as OpenAI shapes it. */
export type FileRecord = {
  /** `file-…` */
  id: string
  tenant: string
  filename: string
  /** What it is for: `batch` for uploads, `batch_output` for results. */
  purpose: string
  bytes: number
  /** Unix ms. */
  createdAt: number
  /** Unix ms; null: kept until it is deleted. */
  expiresAt: number | null
}

/** A file's properties besides its content. */
export type NewFile = Pick<FileRecord, 'filename' | 'purpose' | 'expiresAt'>

/** The tenant's files together would exceed its storage limit. */
export class StorageFullError extends Error {
  override readonly name = 'StorageFullError'
  readonly maxBytes: number

  constructor(maxBytes: number) {
    super(`the files of a tenant may have ${maxBytes} bytes together`)
    this.maxBytes = maxBytes
  }
}

export type FilePage = { files: FileRecord[]; hasMore: boolean }

/**
 * Files of tenants, in parts of up to 1 MiB, so that neither a writer nor a reader ever holds a whole one. They lie in Redis, or
 * in a store outside of it; where that cannot be used, writing and reading throw `FileStoreError`. Foreign and missing ids are the
 * same: null or false.
 */
export type Files = {
  /**
   * Stores an upload as it streams in. When the stream fails, the written parts are removed and the error is rethrown. You
   * may give the file's properties as a function; it is called after the content, with the time of creation, Unix ms.
   * Throws `StorageFullError`; files that are sealed part by part count, but are never refused.
   */
  create(
    tenant: string,
    file: NewFile | ((createdAt: number) => NewFile),
    content: AsyncIterable<Uint8Array>,
  ): Promise<FileRecord>
  /** The id under which a file can be stored later; nothing is stored yet. */
  newId(): string
  /**
   * Writes one part (from 0) of a file that is not sealed yet; the same number again replaces it. Unsealed parts go after a week, or after
   * `ttlMs`; a file that is sealed does not change.
   */
  writePart(tenant: string, id: string, part: number, content: Uint8Array, ttlMs?: number): Promise<void>
  /** One part of a file that is not sealed yet; null: it is not there. */
  readPart(tenant: string, id: string, part: number): Promise<Uint8Array | null>
  /** Deletes the parts of a file that is not sealed, and never will be. */
  discard(tenant: string, id: string): Promise<void>
  /**
   * Makes a file of the first `parts` parts; those never written are empty. Again: the same file. Up to 32 MiB stay in Redis if the store
   * outside of it cannot be used; larger ones throw `FileStoreError`, and keep their parts for the next try.
   */
  seal(tenant: string, id: string, file: NewFile, parts: number): Promise<FileRecord>
  /**
   * Stores bytes that are there already, in one step. Again: the same file. Where the store outside of Redis cannot be used, up to 32 MiB go
   * into Redis; larger ones throw `FileStoreError`.
   */
  put(tenant: string, id: string, file: NewFile, content: Uint8Array): Promise<FileRecord>
  get(tenant: string, id: string): Promise<FileRecord | null>
  /** Newest first, or oldest first; `after` is an id of the page before. */
  list(
    tenant: string,
    query: { limit: number; after: string | null; purpose: string | null; order: 'asc' | 'desc' },
  ): Promise<FilePage>
  /** The content, part by part; null: there is no such file. Begins at byte `from` where given. */
  read(tenant: string, id: string, from?: number): Promise<AsyncIterable<Uint8Array> | null>
  /** False: there was none. */
  remove(tenant: string, id: string): Promise<boolean>
  /** Deletes all expired files, and what is to be deleted outside of Redis; returns how many had expired. For the sweeper. */
  sweep(tenant: string): Promise<number>
  /** Deletes what lies outside of Redis and belongs to nothing in it; returns how many. For the sweeper, once a day. */
  sweepOrphans(signal: AbortSignal): Promise<number>
}
