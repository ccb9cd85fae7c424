import { expect, test } from 'vitest'
import type { FailureCause } from '../../../providers/provider.ts'
import { parseErrorBody } from '../../../providers/provider-error.ts'
import { judgeError, judgeRefusal } from '../../../providers/verdict.ts'

/*
 * Errors in the words of vendors, from their pages and from public bug reports: status (null: within a stream), body,
 * its cause, and the wait that it brings, where that matters. An error about money or the account must not be blamed
 * on the input, one about a rate must not end a job, and one that a prompt caused must not shut a source.
 */

const NOW = Date.parse('2026-11-23T12:00:00Z')
const HOUR = 3_600_000
const openai = (message: string, code: string | number | null = null, type = 'invalid_request_error') => ({
  error: { message, type, code },
})
const anthropic = (type: string, message: string) => ({ type: 'error', error: { type, message } })
const google = (code: number, status: string, message: string) => [{ error: { code, status, message } }]
const cloudflare = (code: number, message: string) => ({
  result: null,
  success: false,
  errors: [{ code, message }],
  messages: [],
})

const TABLE: [status: number | null, body: unknown, cause: FailureCause, wait?: number][] = [
  // Anthropic
  [
    400,
    anthropic(
      'invalid_request_error',
      'You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC.',
    ),
    'quota',
  ],
  [
    400,
    anthropic('invalid_request_error', 'You have reached your specified workspace API usage limits.'),
    'quota',
  ],
  [429, anthropic('rate_limit_error', 'Extra usage is required for long context requests.'), 'quota'],
  [
    400,
    anthropic(
      'invalid_request_error',
      'input length and `max_tokens` exceed context limit: 196063 + 21333 > 200000',
    ),
    'too_long',
  ],
  [400, anthropic('invalid_request_error', 'Output blocked by content filtering policy'), 'filter'],
  [null, { type: 'timeout_error', message: 'Request timed out' }, 'server'],
  // Google
  [429, google(429, 'RESOURCE_EXHAUSTED', 'Your prepayment credits are depleted.'), 'quota'],
  [429, google(429, 'RESOURCE_EXHAUSTED', 'Your project has exceeded its monthly spending cap.'), 'quota'],
  [
    400,
    google(400, 'INVALID_ARGUMENT', 'The input token count (1200000) exceeds the maximum number of tokens.'),
    'too_long',
  ],
  [400, google(400, 'FAILED_PRECONDITION', 'User location is not supported for the API use.'), 'auth'],
  // AWS, and gateways in front of it
  [400, { __type: 'ThrottlingException', message: 'Rate exceeded' }, 'rate'],
  [400, { __type: 'com.amazon.coral.service#ThrottlingException' }, 'rate'],
  [429, { message: 'Model is not ready for inference. Wait and try your request again.' }, 'overloaded'],
  [429, { message: 'Too many tokens per day, please wait before trying again.' }, 'rate', HOUR],
  [null, { message: 'Too many tokens, please wait before trying again.' }, 'rate'],
  [400, { __type: 'ValidationException', Message: 'Input is too long for requested model.' }, 'too_long'],
  // Cloudflare
  [429, cloudflare(3040, 'AiError: Capacity temporarily exceeded, please try again.'), 'overloaded'],
  [429, cloudflare(4006, 'you have used up your daily free allocation of 10,000 neurons'), 'rate', HOUR],
  [400, cloudflare(5007, 'AiError: No such model @cf/x or task'), 'not_found'],
  [429, { success: false, result: [], error: [{ code: 2003, message: 'Rate limited' }] }, 'rate'],
  [429, 'error code: 1015', 'rate'],
  [524, '<!DOCTYPE html><html><head><title>x | 524: A timeout occurred</title></head></html>', 'server'],
  // OpenRouter
  [
    403,
    openai('x requires moderation on Y. Your input was flagged for "z". No credits were charged.', 403),
    'filter',
  ],
  [403, openai('Key limit exceeded (daily limit).', 403), 'quota'],
  [402, openai('This request requires more credits, or fewer max_tokens.', 402), 'quota'],
  // xAI
  [
    403,
    { code: 'The caller does not have permission', error: "Your team doesn't have any credits or licenses" },
    'quota',
  ],
  [
    400,
    { code: 'Client specified an invalid argument', error: "This model's maximum prompt length is 131072." },
    'too_long',
  ],
  // Together, TGI, vLLM, SGLang, Ollama
  [429, openai('Credit limit exceeded', null, 'credit_limit'), 'quota'],
  [422, openai('Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193.'), 'too_long'],
  [
    422,
    { error: '`inputs` must have less than 1024 tokens. Given: 2000', error_type: 'validation' },
    'too_long',
  ],
  [400, openai('The decoder prompt is longer than the maximum model length of 4096.', 400), 'too_long'],
  [503, { object: 'error', message: 'The request queue is full.', code: 503 }, 'overloaded'],
  [503, { error: 'server busy, please try again.  maximum pending requests exceeded' }, 'overloaded'],
  // Groq, Cerebras
  [400, openai('Blocked API access: spend limit reached', 'blocked_api_access'), 'quota'],
  [400, openai('Organization has been restricted.', 'organization_restricted'), 'auth'],
  [
    400,
    openai('The model `x` has been decommissioned and is no longer supported.', 'model_decommissioned'),
    'not_found',
  ],
  [
    null,
    {
      message: 'Tokens per minute limit exceeded - too many tokens processed.',
      code: 'token_quota_exceeded',
    },
    'rate',
  ],
  [429, { message: "We're experiencing high traffic right now!", code: 'queue_exceeded' }, 'overloaded'],
  // A model that does not exist, and other things that are not found
  [400, openai('The model `x` does not exist or you do not have access to it.'), 'not_found'],
  [400, openai("The requested model 'x' does not exist."), 'not_found'],
  [400, openai('The model you requested does not exist.'), 'not_found'],
  [400, openai('This model is no longer supported.'), 'not_found'],
  [400, openai('Model vendor/x-1 not found'), 'not_found'],
  [null, { message: 'model "x" not found' }, 'not_found'],
  [400, openai('Model mistral not found'), 'not_found'],
  [422, { detail: 'Model: mistral is not found' }, 'not_found'],
  [400, { error: 'model llama does not exist' }, 'not_found'],
  ...[
    'Model weights not found',
    'Model streaming is no longer supported',
    'Model tools not found',
    'model worker not found',
    'The model tokenizer was not found',
    'model: session does not exist',
    'Invalid model: messages must not be empty',
    'temperature is not a valid model parameter',
    'Unknown model parameter: foo',
  ].map((text): (typeof TABLE)[number] => [400, openai(text), 'invalid_request']),
  [400, openai('Invalid model: x. See the list of models'), 'not_found'],
  [400, openai('model tool-llama not found'), 'not_found'],
  // llama.cpp's router, LiteLLM, Bedrock, Mistral, Zhipu
  [400, { code: 400, message: "model 'a/b:Q4' not found", type: 'invalid_request_error' }, 'not_found'],
  [
    400,
    {
      error: {
        message: { error: '/chat/completions: Invalid model name passed in model=x. Call `/v1/models`' },
        ...{ type: 'None', param: 'None', code: '400' },
      },
    },
    'not_found',
  ],
  [400, { __type: 'ValidationException', message: 'The provided model identifier is invalid.' }, 'not_found'],
  [
    400,
    { object: 'error', message: 'Invalid model: mistral-x', type: 'invalid_model', code: '1500' },
    'not_found',
  ],
  [400, openai('模型不存在，请检查模型代码。', '1211'), 'not_found'],
  [400, openai('Invalid model parameter: temperature'), 'invalid_request'],
  [null, { message: 'model runner: cache block not found' }, 'server'],
  [400, openai('model input image not found'), 'invalid_request'],
  // An account that is flagged, and an input that is
  [403, openai('Your account has been flagged for unusual activity.'), 'auth'],
  [400, openai('This API key was temporarily blocked by moderation.'), 'auth'],
  [403, openai('Your input was flagged for hate.'), 'filter'],
  // DeepSeek, Moonshot, Zhipu, DashScope, MiniMax
  [400, openai('Content Exists Risk', 'invalid_request_error'), 'filter'],
  [400, openai('Model Not Exist', 'invalid_request_error'), 'not_found'],
  [400, openai('Your request exceeded model token limit: 131072'), 'too_long'],
  [400, openai('Prompt exceeds max length', '1261'), 'too_long'],
  [400, openai('Range of input length should be [1, 98304]', 'invalid_parameter_error'), 'too_long'],
  [null, { status_code: 1000, status_msg: 'unknown error' }, 'server'],
  [null, { status_code: 1039, status_msg: 'token limit' }, 'rate'],
  [null, { status_code: 2056, status_msg: 'usage limit exceeded' }, 'rate'],
  [null, { status_code: 1004, status_msg: 'login fail' }, 'auth'],
  // Gateways: LiteLLM, Azure's API management, watsonx
  [
    400,
    openai('ExceededBudget: Budget has been exceeded! Current cost: 1.2', '400', 'budget_exceeded'),
    'quota',
  ],
  [403, { statusCode: 403, message: 'Out of call volume quota.' }, 'quota'],
  [403, { errors: [{ code: 'token_quota_reached', message: 'm' }], status_code: 403 }, 'quota'],
  [400, openai('The chatCompletion operation does not work with the specified model'), 'not_found'],
  // Words alone, within a stream
  [null, { message: 'Rate limit exceeded, please try again later' }, 'rate'],
  [null, 'Too many requests', 'rate'],
  [null, { message: 'Server overloaded, try again in 5s' }, 'overloaded', 5000],
  [null, { message: "Requested token count exceeds the model's maximum context length." }, 'too_long'],
  [429, { detail: 'Request was throttled. Your rate limit resets in ~5s.' }, 'rate', 5000],
]

const ACCOUNT = new Set<FailureCause>(['quota', 'auth', 'not_found'])

test.each(TABLE)('status %j with %j is about %s', (status, body, cause, wait) => {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  const verdict =
    status === null
      ? judgeError(body, 'chat', true, NOW)
      : judgeRefusal(status, parseErrorBody(text), 'chat', NOW)
  expect(verdict.cause).toBe(cause)
  if (wait !== undefined) expect(verdict.retryAfterMs).toBe(wait)
  if (ACCOUNT.has(cause)) expect(verdict).toMatchObject({ class: 'final', input: false })
  if (cause === 'filter') expect(verdict).toMatchObject({ class: 'final', input: true })
})

test.each<[body: unknown, words: string, code: string]>([
  [{ Message: 'denied' }, 'denied', 'http_400'],
  [
    { errors: { model: ['is unknown'], n: ['is too large', 'is odd'] } },
    'model: is unknown; n: is too large; is odd',
    'http_400',
  ],
  [{ type: 'about:blank', title: 'Bad Request', status: 400 }, 'Bad Request', 'http_400'],
  [{ errors: [{ code: 'model_gone', message: 'm' }], status_code: 400 }, 'm', 'model_gone'],
  [{ error: 'm', error_type: 'validation' }, 'm', 'http_400'],
])('the text and the code of %j are read', (body, words, code) => {
  const { message, code: read } = judgeRefusal(400, parseErrorBody(JSON.stringify(body)), 'chat', NOW)
  expect({ message, code: read }).toEqual({ message: words, code })
})
