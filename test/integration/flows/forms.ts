import type { StepView } from '../../../flows/view.ts'

/** A chat with one message. */
export const chat = (content: unknown, members: object = {}) => ({
  type: 'chat',
  body: { model: 'sim/chat', messages: [{ role: 'user', content }], max_tokens: 20 },
  ...members,
})

/** A response whose result has this text at `metadata.text`. */
export const echo = (text: unknown) => ({
  type: 'response',
  body: { model: 'sim/chat', input: 'echo', metadata: { text } },
})

/** The statuses of a flow's steps. */
export function statuses(flow: { steps: Record<string, StepView> }): Record<string, string> {
  return Object.fromEntries(Object.entries(flow.steps).map(([name, { status }]) => [name, status]))
}
