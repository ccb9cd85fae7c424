/** Whether a model matches a pattern, in which `*` matches any characters. */
export function matchesModel(pattern: string, model: string): boolean {
  const [start, ...parts] = pattern.split('*')
  if (parts.length === 0) return pattern === model
  const end = parts.pop()!
  if (!model.startsWith(start!) || !model.endsWith(end)) return false
  if (model.length < start!.length + end.length) return false
  let at = start!.length
  for (const part of parts) {
    const found = model.indexOf(part, at)
    if (found === -1) return false
    at = found + part.length
  }
  return at <= model.length - end.length
}
