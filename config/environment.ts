export type Environment = Readonly<Record<string, string | undefined>>

export type Expansion = {
  text: string
  /** Names without a value and without a default. */
  missing: string[]
  /** A `${` that begins no reference. */
  malformed: boolean
  /** Number of references that were replaced. */
  replaced: number
  /** The whole text was one reference. */
  whole: boolean
}

const reference = /\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\$\{/g

/**
 * Replaces `${NAME}` and `${NAME:-default}`; `$${` is an escaped `${`. As in a shell, the default is used if NAME is unset or empty.
 * Replaced text is not searched again.
 */
export function expandVariables(text: string, env: Environment): Expansion {
  const missing: string[] = []
  let malformed = false
  let replaced = 0
  let whole = false
  const expanded = text.replace(reference, (match: string, name?: string, fallback?: string) => {
    if (match === '$${') return '${'
    if (name === undefined) {
      malformed = true
      return match
    }
    replaced += 1
    whole = match === text
    const value = env[name]
    if (fallback !== undefined) return value === undefined || value === '' ? fallback : value
    if (value === undefined) missing.push(name)
    return value ?? ''
  })
  return { text: expanded, missing, malformed, replaced, whole }
}
