/** 32 bytes as 64 hex digits or as base64 in either alphabet: the output of `openssl rand`. */
export const encryptionKeyPattern = /^(?:[0-9a-fA-F]{64}|[A-Za-z0-9+/_-]{43}=?)$/

/** The bytes of a key that matches the pattern. */
export function decodeEncryptionKey(text: string): Buffer {
  return Buffer.from(text, text.length === 64 ? 'hex' : 'base64')
}
