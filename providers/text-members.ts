/** Members whose strings come in pieces, by the contracts of the providers that send them. */
const TEXTS = new Set([
  'content',
  'refusal',
  'reasoning_content',
  'reasoning',
  'thinking',
  'text',
  'summary',
  'transcript',
  'arguments',
  'input',
])

/** Names of members that no contract lists here, and that say themselves that they hold running text. */
const TEXT_LIKE = /(?:content|text|reasoning|thinking|thoughts?|transcript|arguments|refusal|summary)$/i

/** Whether the strings of a member are pieces of one text. Any other string is a value, and comes whole. */
export function isTextMember(name: string): boolean {
  return TEXTS.has(name) || TEXT_LIKE.test(name)
}

/** Whether a value says something. Null, empty strings, zeros, and objects of nothing but these, say nothing. */
export function isGiven(value: unknown): boolean {
  if (value === null || value === undefined || value === '' || value === 0) return false
  return true
}
