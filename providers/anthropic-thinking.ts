import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts'
import { UnmappableError } from './unmappable.ts'
import type { Unsupported } from './unsupported.ts'

/** OpenAI's efforts in the words of `output_config.effort`. */
const EFFORTS: Record<string, string> = {
  minimal: 'low',
  low: 'low',
  medium: 'medium',
  high: 'high',
  xhigh: 'xhigh',
  max: 'max',
}

/** The least budget that Anthropic takes. */
const LEAST_BUDGET = 1024

type Thought = {
  thinking: JsonValue
  outputConfig: JsonObject
  /** The cap to send. */
  maxTokens: JsonValue
  /** Whether the model may think, which rules other members. */
  isThinking: boolean
}

/**
 * The effort and the thinking that a chat asks for, and the cap on output that goes with them. An effort is a wish: where a
 * tool is forced, beside which Anthropic takes no thinking, it stands alone. A budget has to be below the cap: a cap of
 * the client stands and lowers it, our own default is raised.
 *
 * @throws UnmappableError for a budget that no cap of the client's has room for
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
    if (known === null) unsupported.leaveOut('reasoning_effort', 'not an effort that anthropic knows')
    else {
      outputConfig.effort = known
      if (!isForced) thinking = { type: 'adaptive' }
    }
  }
  const own = body.thinking ?? null
  if (own !== null) thinking = own
  if (isOn(own) && isForced) {
    unsupported.leaveOut('thinking', 'anthropic takes no thinking where tool_choice forces a tool')
    thinking = null
  }
  if (isJsonObject(thinking) && typeof thinking.budget_tokens === 'number') {
    const budget = thinking.budget_tokens
    if (cap === null) maxTokens = Math.max(defaultMaxTokens, budget + defaultMaxTokens)
    else if (typeof cap === 'number' && budget >= cap) {
      if (cap <= LEAST_BUDGET) {
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
