import type { DialectFacts } from './facts.ts'

/** Another API than OpenAI's: the simulator does not speak it, and the suite replays fixtures. */
export const facts: DialectFacts = {
  name: 'anthropic',
  provider: 'Anthropic',
  reported: 'Anthropic, "Streaming messages" (pings, errors, other events) and "Errors"',
  sends:
    'Named events, among them pings and new types; an `error` event in a stream that began with 200; 529 when it is busy.',
  right: 'Unknown events are skipped. An error in a stream is a failure, reported once. A 529 is retried.',
}
