import compress from '@fastify/compress'
import type { Api } from './deps.ts'

/** Below this many bytes compression saves no packet. */
const LEAST_BYTES = 1024

/** Streams of events would wait in the compressor, and files are mostly compressed or encrypted already. */
const COMPRESSED_TYPES = /^application\/json(?:;|$)/

/**
 * Compresses JSON answers of 1 KiB and more as `Accept-Encoding` asks: zstd, br or gzip. Call it before the routes are registered.
 * Bodies of requests are decompressed elsewhere, with their bounds.
 */
export function registerCompression(app: Api): void {
  // The plugin adds types of its own to those it is given, bytes of files among them. It leaves alone what a request asks it to.
  app.addHook('onSend', (request, reply, payload, done) => {
    if (!COMPRESSED_TYPES.test(String(reply.getHeader('content-type') ?? ''))) {
      request.headers['x-no-compression'] = '1'
    }
    done(null, payload)
  })
  app.register(compress, {
    globalDecompression: false,
    encodings: ['zstd', 'br', 'gzip', 'identity'],
    threshold: LEAST_BYTES,
    customTypes: COMPRESSED_TYPES,
  })
}
