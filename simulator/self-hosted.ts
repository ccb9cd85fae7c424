/** A server of one's own: how fast it answers depends on how many calls it serves. */
export type SelfHosted = {
  /** Calls at once up to which it hardly slows down. */
  knee: number
  /** To the first token of a call alone, ms. */
  firstTokenMs: number
  /** Between two tokens of a call alone, ms. */
  tokenMs: number
}

/** What a full batch costs each call, below the knee. */
const BATCH_COST = 0.3
/** Beyond the knee calls take turns, and the turns themselves cost time. */
const FIRST_TOKEN_GROWTH = 2
const TOKEN_GROWTH = 1.5

/** How much longer a first token and a further one take with so many calls at once, beside a call alone. */
export function slowdownOf(calls: number, knee: number): { first: number; token: number } {
  const batch = 1 + BATCH_COST * Math.min(1, calls / knee)
  const beyond = Math.max(1, calls / knee)
  return { first: batch * beyond ** FIRST_TOKEN_GROWTH, token: batch * beyond ** TOKEN_GROWTH }
}

/** What vLLM shows of itself under `/metrics`, as far as a queue wants to know it. */
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
