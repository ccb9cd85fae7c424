import type { DialectFacts } from './facts.ts'

/** Another API than OpenAI's: the simulator does not speak it, and the suite replays fixtures. */
export const facts: DialectFacts = {
  name: 'anthropic',
  provider: 'Anthropic',
  reported: 'Anthropic, "Streaming messages" (pings, errors, other events) and "Errors"',
  sends:
    'Named events with pings and types that are new to us among them; an `error` event in a stream that began with 200; 529 when it is busy.',
  right: 'What is unknown is skipped; an error in a stream is a failure, told once; 529 is tried again.',
}
