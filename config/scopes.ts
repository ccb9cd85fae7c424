/** What a key may do. `jobs` includes `read`; `admin` includes everything. */
export const scopes = ['jobs', 'read', 'metrics', 'admin'] as const
export type Scope = (typeof scopes)[number]

/** Scopes of a key that is given none. */
export const defaultScopes: readonly Scope[] = ['jobs', 'read']

/** Whether a key of these scopes may use what asks for one of them. */
export function grants(held: readonly Scope[], asked: Scope): boolean {
  return held.includes('admin') || held.includes(asked) || (asked === 'read' && held.includes('jobs'))
}
