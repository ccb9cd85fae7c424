export type ShellBlock = { page: string; line: number; commands: string[] }

/** The fenced blocks of a page that are marked `sh`, each as its commands. */
export function readShellBlocks(page: string, text: string): ShellBlock[] {
  return [...text.matchAll(/^```(\w*)[^\n]*\n(.*?)^```$/gms)]
    .filter((match) => match[1] === 'sh')
    .map((match) => ({
      page,
      line: text.slice(0, match.index).split('\n').length,
      commands: splitCommands(match[2]!),
    }))
}

/**
 * The commands of a shell script, one for each line that begins one. A command goes on after an open quote or
 * here-document, or a backslash. Comments are left out.
 */
export function splitCommands(script: string): string[] {
  const commands: string[] = []
  let open = ''
  let end: string | null = null
  for (const line of script.split('\n')) {
    open += open === '' ? line : `\n${line}`
    if (end !== null) {
      if (line !== end) continue
    } else {
      const { text, isOpen } = scanLine(open)
      open = text
      if (isOpen) continue
      end = /<<-?\s*'?(\w+)'?/.exec(open)?.[1] ?? null
      if (end !== null) continue
    }
    if (open.trim() !== '') commands.push(open.trim())
    open = ''
    end = null
  }
  if (open !== '') throw new Error(`a command has no end: ${open}`)
  return commands
}

/** Whether a command goes on after this text, and the text without the comment at its end. */
function scanLine(text: string): { text: string; isOpen: boolean } {
  let quote: string | null = null
  for (let at = 0; at < text.length; at++) {
    const char = text[at]!
    if (char === '\\' && quote !== "'") {
      if (at === text.length - 1) return { text, isOpen: true }
      at++
    } else if (quote === null && char === '#' && /^$|\s/.test(text[at - 1] ?? '')) {
      const end = text.indexOf('\n', at)
      return end === -1
        ? { text: text.slice(0, at), isOpen: false }
        : scanLine(text.slice(0, at) + text.slice(end))
    } else if (char === quote) {
      quote = null
    } else if (quote === null && (char === "'" || char === '"')) {
      quote = char
    }
  }
  return { text, isOpen: quote !== null }
}
