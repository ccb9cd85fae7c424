import type { DialectFacts } from './facts.ts'

export const facts: DialectFacts = {
  name: 'lm-studio',
  provider: 'LM Studio',
  reported: 'lmstudio-ai/lmstudio-bug-tracker#649, zendev-sh/goai#110',
  sends:
    'Pieces of a tool call that go on have an empty name; an error is a text, or stands beside its own words. Here also: lines that end with CRLF.',
  right: 'The name stands; the error is read.',
}
