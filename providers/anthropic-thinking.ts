import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { UnmappableError } from './unmappable.ts'
import type { Unsupported } from './unsupported.ts'

/** The value of `output_config.effort` for OpenAI's efforts. */
const EFFORTS: Record<string, string> = {
  minimal: 'low',
  low: 'low',
  medium: 'medium',
  high: 'high',
  xhigh: 'xhigh',
  max: 'max',
}

/** The smallest budget that Anthropic accepts. */
const MIN_BUDGET = 1024

type Thought = {
  thinking: JsonValue
  outputConfig: JsonObject
  /** The `max_tokens` to send. */
  maxTokens: JsonValue
  /** Whether the model may think, which restricts other members. */
  isThinking: boolean
}

/**
 * Returns the effort, the thinking and the output cap for a chat. `reasoning_effort` is best effort: where a tool is forced, Anthropic
 * accepts no thinking, and the effort is sent without it. A thinking budget must be below the cap: a client's own cap stays and lowers the
 * budget; our default cap is raised.
 *
 * @throws UnmappableError for a budget that does not fit below the client's cap
 */
export function mapThinking(
  body: JsonObject,
  { cap, defaultMaxTokens, isForced }: { cap: JsonValue; defaultMaxTokens: number; isForced: boolean },
  unsupported: Unsupported,
): Thought {
  const outputConfig: JsonObject = {}
  let thinking: JsonValue = null
  let maxTokens = cap ?? defaultMaxTokens
  const effort = body.reasoning_effort ?? null
  if (effort === 'none') thinking = { type: 'disabled' }
  else if (effort !== null) {
    const known = typeof effort === 'string' && Object.hasOwn(EFFORTS, effort) ? EFFORTS[effort]! : null
    if (known === null) unsupported.leaveOut('reasoning_effort', 'anthropic does not know this effort')
    else {
      outputConfig.effort = known
      if (!isForced) thinking = { type: 'adaptive' }
    }
  }
  const own = body.thinking ?? null
  if (own !== null) thinking = own
  if (isOn(own) && isForced) {
    unsupported.leaveOut('thinking', 'anthropic accepts no thinking where tool_choice forces a tool')
    thinking = null
  }
  if (isJsonObject(thinking) && typeof thinking.budget_tokens === 'number') {
    const budget = thinking.budget_tokens
    if (cap === null) maxTokens = Math.max(defaultMaxTokens, budget + defaultMaxTokens)
    else if (typeof cap === 'number' && budget >= cap) {
      if (cap <= MIN_BUDGET) {
        throw new UnmappableError('thinking.budget_tokens', `the cap of ${cap} tokens has no room for it`)
      }
      thinking = { ...thinking, budget_tokens: cap - 1 }
    }
  }
  return { thinking, outputConfig, maxTokens, isThinking: isOn(thinking) }
}

function isOn(thinking: JsonValue): boolean {
  return isJsonObject(thinking) && (thinking.type === 'enabled' || thinking.type === 'adaptive')
}
