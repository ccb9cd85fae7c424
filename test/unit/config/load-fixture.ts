import { ConfigError, loadConfig } from '../../../config/load.ts'
import type { Config } from '../../../config/schema.ts'

export const smallest = `
providers:
  openai:
    kind: openai
    api_key: sk-plain-for-tests
    models:
      gpt-5-mini: {}
`

/** Loads text as if it were sluice.yaml. */
export function load(text: string, env: Record<string, string> = {}): Config {
  return loadConfig({ path: '/somewhere/sluice.yaml', text, env })
}

/** The faults of a text that must not load. */
export function faultsOf(text: string, env: Record<string, string> = {}): readonly string[] {
  try {
    load(text, env)
  } catch (error) {
    if (error instanceof ConfigError) return error.faults
    throw error
  }
  throw new Error('the configuration has no fault')
}
