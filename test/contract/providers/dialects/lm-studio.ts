import type { DialectFacts } from './facts.ts'

export const facts: DialectFacts = {
  name: 'lm-studio',
  provider: 'LM Studio',
  reported: 'lmstudio-ai/lmstudio-bug-tracker#649, zendev-sh/goai#110',
  sends:
    'Later pieces of a tool call have an empty name. An error is a text, or is beside other members. Lines may end with CRLF.',
  right: 'The call keeps its name. The error is read.',
}
