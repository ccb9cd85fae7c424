import { shownWhole } from '../lib/describe-error.ts'

/** Where the content of files can lie outside of Redis. */
export type ObjectStoreKind = 'folder' | 's3'

/** An object, and when it was written by the store's own clock, Unix ms. */
export type StoredObject = { name: string; modifiedAt: number }

/**
 * Holds bytes under names of the form `store id/tenant/object`. An object is there whole or not at all, and never changes: a name is
 * written once. All methods throw `FileStoreError` where the store cannot do it now.
 */
export type ObjectStore = {
  /** Writes an object; takes from the content as fast as it can write. When this rejects, the object is not there. */
  write(name: string, content: AsyncIterable<Uint8Array>): Promise<void>
  /** So many bytes from byte `from` on. Null: there is no such object. */
  read(name: string, from: number, length: number): Promise<Buffer | null>
  /** Deletes an object and what is left of one that was written by half. One that is not there is deleted. */
  remove(name: string): Promise<void>
  /** All objects whose names begin with `folder/`, in blocks. Halves of objects are listed under their object's name. */
  list(folder: string): AsyncIterable<StoredObject[]>
  /** Resolves if the store can be used now. */
  check(): Promise<void>
}

/** Why a store cannot be used. `away`: nobody knows why; the others want somebody to put something right. */
export type FileStoreFault = 'away' | 'full' | 'refused' | 'missing'

/** The store of files cannot be used now. Its message is written for people and names the store, never a key or a file. */
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

/** The parts of a name may lead nowhere else, neither as a path nor as a URL. Throws for any other name. */
export function splitObjectName(name: string): string[] {
  const parts = name.split('/')
  if (parts.some((part) => !/^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$/.test(part))) {
    throw new Error('an object of files has a name that may not be')
  }
  return parts
}
