import { randomUUID } from 'node:crypto'
import { type Exchange, sendJson, sendLines } from './exchange.ts'
import type { FileBook } from './files.ts'

/**
 * Gemini's own file API, because its OpenAI-compatible endpoint has no files: the resumable upload in two requests, the download and
 * the deletion. Paths: `/upload/v1beta/files`, `/download/v1beta/files/{id}:download`, `/v1beta/files/{id}`. True: the request was for
 * this API.
 */
export function createGeminiFileApi({ files, now }: { files: FileBook; now: () => number }) {
  const sessions = new Map<string, string>()

  function start(exchange: Exchange): void {
    const session = randomUUID()
    let name = 'file'
    try {
      const body = JSON.parse(exchange.body.toString() || '{}') as { file?: { display_name?: string } }
      name = body.file?.display_name ?? name
    } catch {
      // The file has no name.
    }
    sessions.set(session, name)
    const url = `http://${exchange.request.headers.host}/upload/v1beta/files?upload_id=${session}`
    exchange.response.writeHead(200, { 'x-goog-upload-url': url, 'x-goog-upload-status': 'active' })
    exchange.response.end()
  }

  function finish(exchange: Exchange, name: string): void {
    const id = `files/sim${now().toString(36)}${randomUUID().slice(0, 8)}`
    const file = files.add({ filename: name, purpose: 'batch', content: exchange.body }, id)
    sendJson(exchange, 200, {
      file: {
        name: file.id,
        displayName: file.filename,
        sizeBytes: String(file.content.length),
        state: 'ACTIVE',
      },
    })
  }

  return (exchange: Exchange, whole: string): boolean => {
    const { method, query } = exchange
    if (whole.endsWith('/upload/v1beta/files')) {
      const session = query.get('upload_id')
      if (session === null) start(exchange)
      else if (sessions.has(session)) finish(exchange, sessions.get(session)!)
      else sendJson(exchange, 404, { error: { code: 404, message: 'no such upload', status: 'NOT_FOUND' } })
      return true
    }
    const [, id] = /\/v1beta\/(files\/[^/:]+)(?::download)?$/.exec(whole) ?? []
    if (whole.endsWith('/v1beta/files') && method === 'GET') {
      sendJson(exchange, 200, {
        files: files.list().map((file) => ({ name: file.id, displayName: file.filename })),
      })
      return true
    }
    if (id === undefined) return false
    const file = files.get(id)
    if (!file)
      sendJson(exchange, 404, { error: { code: 404, message: `no file ${id}`, status: 'NOT_FOUND' } })
    else if (whole.includes('/download/'))
      sendLines(
        exchange,
        file.content
          .toString()
          .split('\n')
          .filter((line) => line !== ''),
      )
    else if (method === 'DELETE') {
      files.remove(id)
      sendJson(exchange, 200, {})
    } else return false
    return true
  }
}
