/** A self-hosted server. Its speed depends on its number of concurrent calls. */
export type SelfHosted = {
  /** The number of concurrent calls up to which it hardly slows down. */
  knee: number
  /** The time to the first token of a single call, ms. */
  firstTokenMs: number
  /** The time between two tokens of a single call, ms. */
  tokenMs: number
}

/** How much a full batch slows down each call, below the knee. */
const BATCH_COST = 0.3
/** Beyond the knee calls take turns, and switching costs time too. */
const FIRST_TOKEN_GROWTH = 2
const TOKEN_GROWTH = 1.5

/** The factors by which the first token and further tokens take longer with `calls` concurrent calls than with one. */
export function slowdownOf(calls: number, knee: number): { first: number; token: number } {
  const batch = 1 + BATCH_COST * Math.min(1, calls / knee)
  const beyond = Math.max(1, calls / knee)
  return { first: batch * beyond ** FIRST_TOKEN_GROWTH, token: batch * beyond ** TOKEN_GROWTH }
}

/** The metrics of vLLM under `/metrics` that matter to a queue. */
export function writeMetrics(model: string, calls: number, knee: number): string {
  const running = Math.min(calls, knee)
  const label = `{engine="0",model_name=${JSON.stringify(model)}}`
  return [
    '# HELP vllm:num_requests_running Number of requests in model execution batches.',
    '# TYPE vllm:num_requests_running gauge',
    `vllm:num_requests_running${label} ${running.toFixed(1)}`,
    '# HELP vllm:num_requests_waiting Number of requests waiting to be processed.',
    '# TYPE vllm:num_requests_waiting gauge',
    `vllm:num_requests_waiting${label} ${(calls - running).toFixed(1)}`,
    '',
  ].join('\n')
}
