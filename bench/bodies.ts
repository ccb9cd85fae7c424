/** The models that the bench's configuration gives Sluice; the other systems send the same names to the upstream. */
export const CHAT_MODEL = 'chat-small'
export const EMBEDDING_MODEL = 'embed-small'

export type ChatBody = { model: string; messages: { role: 'system' | 'user'; content: string }[] }

/**
 * A chat request of about 600 bytes, which is usual for applications. Each number gives another one, so that each is
 * a call of its own.
 */
export function chatBody(model: string, number: number): ChatBody {
  return {
    model,
    messages: [
      {
        role: 'system',
        content:
          'You sort messages of customers. Answer with one of: billing, delivery, returns, complaint, other. ' +
          'Say nothing else, and when a message fits two of them, take the one that needs an answer first.',
      },
      {
        role: 'user',
        content:
          `Message ${number}: Good morning, I ordered the blue one three weeks ago and it has still not come. ` +
          'Your page says it was delivered on Tuesday, but nobody rang and the neighbours have nothing either. ' +
          'Could you find out where it is, or send another? I would rather not pay for it twice.',
      },
    ],
  }
}

/** NDJSON for `POST /v1/jobs/bulk`: `count` chat jobs from number `first` on. */
export function chatLines(first: number, count: number): Buffer {
  return toLines(count, (index) => ({ type: 'chat', body: chatBody(`sim/${CHAT_MODEL}`, first + index) }))
}

/** NDJSON for `POST /v1/jobs/bulk`: embedding jobs of one input each. */
export function embeddingLines(first: number, count: number): Buffer {
  return toLines(count, (index) => ({
    type: 'embedding',
    body: {
      model: `sim/${EMBEDDING_MODEL}`,
      input: `Paragraph ${first + index} of a manual that is searched by meaning and not by word.`,
      dimensions: 256,
      encoding_format: 'base64',
    },
  }))
}

function toLines(count: number, job: (index: number) => object): Buffer {
  return Buffer.from(Array.from({ length: count }, (_, index) => `${JSON.stringify(job(index))}\n`).join(''))
}
