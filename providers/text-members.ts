/** Members whose strings arrive in pieces, by the providers' APIs. */
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

/** Names of other members that evidently hold running text. */
const TEXT_LIKE = /(?:content|text|reasoning|thinking|thoughts?|transcript|arguments|refusal|summary)$/i

/** Whether the strings of a member are pieces of one text. Any other string arrives whole. */
export function isTextMember(name: string): boolean {
  return TEXTS.has(name) || TEXT_LIKE.test(name)
}

/** Whether a value carries information: null, an empty string and zero do not. */
export function isGiven(value: unknown): boolean {
  if (value === null || value === undefined || value === '' || value === 0) return false
  return true
}
