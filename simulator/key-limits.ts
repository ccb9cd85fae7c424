import type { SimulatedFamily, SimulatedLimits } from './options.ts'

const LIMIT_NAMES: Record<string, keyof SimulatedLimits> = {
  rpm: 'requests_per_minute',
  tpm: 'tokens_per_minute',
  ipm: 'images_per_minute',
  audio: 'audio_seconds_per_minute',
  concurrency: 'max_concurrency',
}

/** Parses `KEY:rpm=500:tpm=50000:concurrency=8`; null: the form is wrong. */
export function parseKeyLimits(text: string): { key: string; limits: SimulatedLimits } | null {
  const [key = '', ...members] = text.split(':')
  const limits = parseLimits(members)
  return key === '' || limits === null ? null : { key, limits }
}

/** Parses `NAME=MODEL,MODEL:rpm=1000`; `*` in a model stands for any characters. Null: the form is wrong. */
export function parseFamily(text: string): { name: string; family: SimulatedFamily } | null {
  const [head = '', ...members] = text.split(':')
  const [name = '', models = ''] = head.split('=')
  const limits = parseLimits(members)
  if (name === '' || models === '' || limits === null) return null
  return { name, family: { models: models.split(','), ...limits } }
}

function parseLimits(members: string[]): SimulatedLimits | null {
  const limits: SimulatedLimits = {}
  for (const member of members) {
    const [name = '', value = ''] = member.split('=')
    const limit = LIMIT_NAMES[name]
    const number = Number(value)
    if (limit === undefined || value === '' || !(number >= 0)) return null
    limits[limit] = number
  }
  return limits
}
