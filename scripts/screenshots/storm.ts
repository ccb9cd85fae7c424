import { type Keys, keys } from './stack.ts'

/** How many lanes the pictures of a storm have: a small, a middling and a large installation. */
export const stormSizes = [3, 41, 200] as const

/** A provider that is down, one at its limit, and idle ones; `lanes` lanes together. */
export function listModels(lanes: number): Record<'anthropic' | 'openai' | 'mistral', string[]> {
  const down = Math.max(1, Math.round(lanes * 0.3))
  const names = (prefix: string, count: number) =>
    Array.from({ length: count }, (_, number) => `${prefix}-${number + 1}`)
  return {
    anthropic: names('claude', down),
    openai: names('gpt', Math.max(1, Math.round((lanes - down) / 3))),
    mistral: names('mistral', Math.max(1, lanes - down - Math.max(1, Math.round((lanes - down) / 3)))),
  }
}

/** Gives every lane of the provider that is down some jobs, one lane very many, and lets some fail. */
export async function makeStorm(url: string, lanes: number): Promise<void> {
  const models = listModels(lanes)
  const [busy] = models.openai
  await send(url, 'acme', chats(`openai/${busy}`, 3_000, 'nightly-summaries'))
  // A tenant may have a thousand.
  const each = Math.min(40, Math.floor(900 / models.anthropic.length))
  for (const model of models.anthropic)
    await send(url, 'birch', chats(`anthropic/${model}`, each, 'support-triage', '[[fault:503]]'))
  for (const model of models.mistral.slice(0, 6))
    await send(url, 'cedar', chats(`mistral/${model}`, 9, 'imports', '[[fault:400]]'))
}

function chats(model: string, count: number, group: string, fault = ''): object[] {
  return Array.from({ length: count }, (_, number) => ({
    type: 'chat',
    group,
    body: {
      model,
      max_completion_tokens: 160,
      messages: [{ role: 'user', content: `Document ${number} of ${group} for ${model}. ${fault}` }],
    },
  }))
}

async function send(url: string, tenant: keyof Keys, jobs: object[]): Promise<void> {
  const response = await fetch(`${url}/v1/jobs/bulk`, {
    method: 'POST',
    headers: { authorization: `Bearer ${keys[tenant]}`, 'content-type': 'application/x-ndjson' },
    body: jobs.map((job) => JSON.stringify(job)).join('\n'),
  })
  const text = await response.text()
  if (!response.ok || text.includes('"error"'))
    throw new Error(`the jobs were refused: ${text.slice(0, 300)}`)
}
