/** A file that the simulated provider stores. */
export type SimulatedFile = {
  id: string
  filename: string
  purpose: string
  createdAt: number
  content: Buffer
}

/** One part of a `multipart/form-data` body: its name, its file's name, and its content. */
export type FormPart = { name: string; filename: string | null; content: Buffer }

/** Parses a form; null if the body is not a form. */
export function parseForm(contentType: string, body: Buffer): FormPart[] | null {
  const boundary = /boundary=(?:"([^"]+)"|([^;\s]+))/.exec(contentType)
  if (!contentType.startsWith('multipart/form-data') || !boundary) return null
  const mark = Buffer.from(`--${boundary[1] ?? boundary[2]}`)
  const parts: FormPart[] = []
  let from = body.indexOf(mark)
  while (from >= 0) {
    const start = from + mark.length
    const next = body.indexOf(mark, start)
    if (next < 0) break
    const headEnd = body.indexOf('\r\n\r\n', start)
    if (headEnd >= 0 && headEnd < next) {
      const head = body.subarray(start, headEnd).toString()
      const name = /[; ]name="([^"]*)"/.exec(head)
      const filename = /filename="([^"]*)"/.exec(head)
      if (name) {
        parts.push({
          name: name[1]!,
          filename: filename?.[1] ?? null,
          content: body.subarray(headEnd + 4, next - 2),
        })
      }
    }
    from = next
  }
  return parts
}

export type FileBook = {
  add(file: Pick<SimulatedFile, 'filename' | 'purpose' | 'content'>, id?: string): SimulatedFile
  get(id: string): SimulatedFile | undefined
  remove(id: string): boolean
  /** Newest first. */
  list(): SimulatedFile[]
  clear(): void
}

/** Creates an empty store of files in memory. */
export function createFileBook(now: () => number): FileBook {
  const files = new Map<string, SimulatedFile>()
  let serial = 0
  return {
    add(file, id) {
      serial += 1
      const made = { id: id ?? `file-sim${serial.toString(36).padStart(8, '0')}`, createdAt: now(), ...file }
      files.set(made.id, made)
      return made
    },
    get: (id) => files.get(id),
    remove: (id) => files.delete(id),
    list: () => [...files.values()].reverse(),
    clear: () => files.clear(),
  }
}
