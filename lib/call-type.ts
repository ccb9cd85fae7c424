/** What a call requests. Each type is one endpoint of the provider. */
export const CallType = {
  chat: 'chat',
  response: 'response',
  /** Anthropic's Messages API. */
  message: 'message',
  embedding: 'embedding',
  completion: 'completion',
  moderation: 'moderation',
  rerank: 'rerank',
  image: 'image',
  image_edit: 'image_edit',
  speech: 'speech',
  transcription: 'transcription',
  translation: 'translation',
} as const
export type CallType = (typeof CallType)[keyof typeof CallType]
