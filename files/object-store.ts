import { shownWhole } from '../lib/describe-error.ts'

/** Kinds of stores for the content of files outside of Redis. */
export type ObjectStoreKind = 'folder' | 's3'

/** An object, and when it was written by the store's clock, Unix ms. */
export type StoredObject = { name: string; modifiedAt: number }

/**
 * Stores bytes under names of the form `store id/tenant/object`. An object exists whole or not at all and never changes: a name is written
 * once. All methods throw `FileStoreError` when the store cannot be used.
 */
export type ObjectStore = {
  /** Writes an object. Reads the content as fast as it can write. When this rejects, the object does not exist. */
  write(name: string, content: AsyncIterable<Uint8Array>): Promise<void>
  /** Reads `length` bytes from byte `from` on. Null: there is no such object. */
  read(name: string, from: number, length: number): Promise<Buffer | null>
  /** Deletes an object and what is left of a partly written one. Succeeds if there is none. */
  remove(name: string): Promise<void>
  /** All objects whose names begin with `folder/`, in blocks. A partly written object is listed under its object's name. */
  list(folder: string): AsyncIterable<StoredObject[]>
  /** Resolves if the store can be used now. */
  check(): Promise<void>
}

/** Why a store cannot be used. `away`: unknown, may pass by itself. The others need an operator. */
export type FileStoreFault = 'away' | 'full' | 'refused' | 'missing'

/** The store of files cannot be used now. The message is for people and names the store, never a key or a file. */
export class FileStoreError extends Error {
  override readonly name = 'FileStoreError'
  readonly [shownWhole] = true
  readonly store: ObjectStoreKind
  readonly fault: FileStoreFault

  constructor(store: ObjectStoreKind, fault: FileStoreFault, message: string, options?: ErrorOptions) {
    super(message, options)
    this.store = store
    this.fault = fault
  }
}

/** Splits a name. Each part is checked, so that it leads nowhere else as a path or as a URL. Throws for any other name. */
export function splitObjectName(name: string): string[] {
  const parts = name.split('/')
  if (parts.some((part) => !/^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$/.test(part))) {
    throw new Error('an object of files has a name that may not be')
  }
  return parts
}
