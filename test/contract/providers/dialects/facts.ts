/** How a provider's answers differ from OpenAI's. The simulator imitates it. */
export type DialectFacts = {
  /** In simulator/dialects.ts. */
  name: string
  provider: string
  /** The public reports or pages that describe it. */
  reported: string
  sends: string
  /** What Sluice makes of it. */
  right: string
}
