/** Length of one piece, in UTF-16 units. */
const PIECE = 64

/** Cuts a finished text into pieces for streaming. Surrogate pairs stay whole. */
export function cutText(text: string): string[] {
  const pieces: string[] = []
  for (let start = 0; start < text.length; ) {
    let end = Math.min(text.length, start + PIECE)
    const last = text.charCodeAt(end - 1)
    if (last >= 0xd800 && last < 0xdc00 && end < text.length) end += 1
    pieces.push(text.slice(start, end))
    start = end
  }
  return pieces
}
