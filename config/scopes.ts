/** The permissions of a key. `jobs` includes `read`; `admin` includes everything. */
export const scopes = ['jobs', 'read', 'metrics', 'admin'] as const
export type Scope = (typeof scopes)[number]

/** The scopes of a key without explicit scopes. */
export const defaultScopes: readonly Scope[] = ['jobs', 'read']

/** Whether a key with these scopes has the required scope. */
export function grants(held: readonly Scope[], asked: Scope): boolean {
  return held.includes('admin') || held.includes(asked) || (asked === 'read' && held.includes('jobs'))
}
