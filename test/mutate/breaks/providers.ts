import type { Break } from '../break.ts'

const FEEDBACK = ['test/unit/providers/feedback.test.ts']
const ACCOUNTING = ['test/unit/providers/accounting.test.ts']
const USAGE = ['test/unit/providers/read-usage.test.ts']
const CLASSIFY = ['test/unit/providers/classify.test.ts']
const CHAT = ['test/contract/providers/chat.test.ts']
const OPENAI = ['test/integration/providers/openai.test.ts']
const VERDICTS = ['test/integration/providers/verdicts.test.ts']

/** Breaks of the adapters: what goes out, what comes back, and what it means. */
export const PROVIDER_BREAKS: readonly Break[] = [
  {
    file: 'providers/classify.ts',
    find: "  overloaded: 'retryable',",
    replace: "  overloaded: 'final',",
    tests: CLASSIFY,
    says: 'a busy provider ends a job',
  },
  {
    file: 'providers/classify.ts',
    find: "  quota: 'final',",
    replace: "  quota: 'throttled',",
    tests: [...CLASSIFY, ...VERDICTS],
    says: 'an account without money counts as a rate limit that passes',
  },
  {
    file: 'providers/classify.ts',
    find: "  return { class: 'retryable', cause: 'answer', code, message, ambiguous: true, input: false }",
    replace:
      "  return { class: 'retryable', cause: 'answer', code, message, ambiguous: false, input: false }",
    tests: ['test/contract/providers/failures.test.ts', 'test/contract/providers/streams.test.ts'],
    says: 'an answer that cannot be read counts as free',
  },
  {
    file: 'providers/classify.ts',
    find: 'return { ...classifyStatus(status, error, type), ambiguous: begun }',
    replace: 'return classifyStatus(status, error, type)',
    tests: [...CLASSIFY, 'test/contract/providers/streams.test.ts'],
    says: 'an error within a stream counts as free',
  },
  {
    file: 'providers/waits.ts',
    find: "  ['retry_after_ms', 1],",
    replace: "  ['retry_after_ms', 1000],",
    tests: [...VERDICTS, ...FEEDBACK, 'test/unit/providers/failure-cause.test.ts'],
    says: 'a wait in milliseconds is read as seconds',
  },
  {
    file: 'providers/waits.ts',
    find: 'return Math.min(Math.ceil(milliseconds), MAX_WAIT_MS)',
    replace: 'return Math.ceil(milliseconds)',
    tests: [...FEEDBACK, ...VERDICTS],
    says: 'a provider may shut its lane for days',
  },
  {
    file: 'providers/feedback.ts',
    find: 'if (remaining === 0) used = Math.max(used ?? 0, wait)',
    replace: 'if (remaining !== undefined) used = Math.max(used ?? 0, wait)',
    tests: FEEDBACK,
    says: 'a limit that is not used up shuts its lane',
  },
  {
    file: 'providers/feedback.ts',
    find: 'return value === 0 ? undefined : value',
    replace: 'return value',
    tests: FEEDBACK,
    says: 'a limit of zero is believed',
  },
  {
    file: 'providers/accounting.ts',
    find: '    tokens: Math.max(estimate.tokens, tokens),',
    replace: '    tokens,',
    tests: ACCOUNTING,
    says: 'tokens are refunded that OpenAI does not refund',
  },
  {
    file: 'providers/accounting.ts',
    find: 'const input = Math.max(0, usage.input_tokens - Math.floor(read))',
    replace: 'const input = usage.input_tokens',
    tests: ACCOUNTING,
    says: "tokens from Anthropic's cache count against its limit",
  },
  {
    file: 'lib/price.ts',
    find: 'plain * rates.input +',
    replace: 'plain * rates.output +',
    tests: ['test/unit/config/prices.test.ts', ...ACCOUNTING],
    says: 'input is priced as output',
  },
  {
    file: 'providers/accounting.ts',
    find: 'choices: hasChoices(type) ? choices : 1,',
    replace: 'choices: 1,',
    tests: [...ACCOUNTING, 'test/integration/budgets/budgets.test.ts'],
    says: 'a request for several choices is reserved as one',
  },
  {
    file: 'providers/read-usage.ts',
    find: 'Math.max(stated?.output_tokens ?? 0, received)',
    replace: 'received',
    tests: [...USAGE, 'test/integration/budgets/cut-calls.test.ts'],
    says: 'the usage that a cut stream stated is lost',
  },
  {
    file: 'providers/anthropic-answer.ts',
    find: "  max_tokens: 'length',",
    replace: "  max_tokens: 'stop',",
    tests: ['test/contract/providers/anthropic.test.ts'],
    says: 'an answer that was cut short by its limit looks whole',
  },
  {
    file: 'providers/anthropic-answer.ts',
    find: 'const prompt = readCount(input_tokens) + written + read',
    replace: 'const prompt = readCount(input_tokens)',
    tests: ['test/contract/providers/anthropic.test.ts'],
    says: 'reads and writes of a prompt cache are not billed',
  },
  {
    file: 'providers/openai-address.ts',
    find: "headers['api-key'] = options.apiKey",
    replace: 'headers.authorization = options.apiKey',
    tests: CHAT,
    says: 'the key goes to Azure in the wrong header',
  },
  {
    file: 'providers/openai.ts',
    find: "if (request.type === 'response') edits.background = null",
    replace: '',
    tests: OPENAI,
    titles: 'never requested in the background',
    says: 'a response is made in the background of the provider',
  },
  {
    file: 'providers/openai.ts',
    find: 'if (second.answer.ok) refused',
    replace: 'refused',
    tests: ['test/integration/providers/additions.test.ts'],
    says: 'an added member is dropped that was not the cause of the refusal',
  },
  {
    file: 'providers/transport.ts',
    find: 'if (size > maxBytes) throw new AnswerTooLargeError',
    replace: 'if (size > maxBytes + 1) throw new AnswerTooLargeError',
    tests: OPENAI,
    titles: 'up to its largest size',
    says: 'an answer may exceed its bound',
  },
]
