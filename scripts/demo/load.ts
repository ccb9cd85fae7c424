import type { CreateJob } from '../../client/index.ts'

/** Input that the simulated provider rejects, together with everything that travels in the same request. */
const POISON = '[[poison]]'
/** A prompt with this gets a 500 for its first two calls. */
const FAILS_TWICE = '[[fault:500:times=2]]'

/** Lengths of prompts in characters, of which four make a token: many short ones, few long ones. */
const PROMPT_LENGTHS = [...Array<number>(14).fill(120), ...Array<number>(5).fill(480), 1600]
const MOST_OUTPUT_TOKENS = 60

type NewChat = Extract<CreateJob, { type: 'chat' }>

export type Load = {
  /** What acme submits at once: chats, every fourth one twice, some of which fail at first. */
  chats: NewChat[]
  /** Some of the same questions, asked again after they were answered. */
  repeats: NewChat[]
  /** One text each, and a poisoned one among them. */
  embeddings: CreateJob[]
  /** How many of the chats fail at first. */
  flaky: number
}

/** Names of the groups under which the demo finds its jobs again. */
export const groups = { chats: 'chats', embeddings: 'embeddings', streamed: 'streamed' }

/** @param size 1 keeps the chat lane busy for about 35 seconds */
export function makeLoad(size: number): Load {
  const questions = Math.max(20, Math.round(940 * size))
  const flakyEvery = 47
  const chats: NewChat[] = []
  for (let number = 0; number < questions; number++) {
    const job = makeChat(number, number % flakyEvery === 0 ? FAILS_TWICE : '')
    chats.push(job)
    if (number % 4 === 1) chats.push(job)
  }
  const texts = Math.max(100, Math.round(2000 * size))
  const embeddings = Array.from({ length: texts }, (_, number) =>
    makeEmbedding(`Paragraph ${number} of a long document.`),
  )
  embeddings.splice(Math.floor(texts / 3), 0, makeEmbedding(`A paragraph that is refused: ${POISON}`))
  return {
    chats,
    repeats: chats.slice(0, Math.ceil(chats.length / 20)),
    embeddings,
    flaky: Math.ceil(questions / flakyEvery),
  }
}

/** One of birch's questions, answered as a stream. */
export function makeStreamedChat(number: number): NewChat {
  const chat = makeChat(number, 'Birch asks, and reads along.')
  return { ...chat, group: groups.streamed, body: { ...chat.body, stream: true } }
}

function makeChat(number: number, remark: string): NewChat {
  const opening = `Question ${number}. ${remark} `
  const content = opening.padEnd(
    PROMPT_LENGTHS[number % PROMPT_LENGTHS.length]!,
    'Please consider all of this. ',
  )
  return {
    type: 'chat',
    group: groups.chats,
    body: {
      model: 'chatty/small',
      max_completion_tokens: MOST_OUTPUT_TOKENS,
      messages: [{ role: 'user', content }],
    },
  }
}

function makeEmbedding(input: string): CreateJob {
  return { type: 'embedding', group: groups.embeddings, body: { model: 'embedder/small', input } }
}

/** Whether a failed job is the one that is meant to fail. */
export function isMeantToFail(job: {
  type: string
  error: { code: string; provider_status: number | null } | null
}) {
  return job.type === 'embedding' && job.error?.provider_status === 400
}
