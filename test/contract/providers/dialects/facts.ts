/** How a provider's answers differ from OpenAI's. The simulator imitates it. */
export type DialectFacts = {
  /** The name in simulator/dialects.ts. */
  name: string
  provider: string
  /** The public reports or pages that describe it. */
  reported: string
  sends: string
  /** The result in Sluice. */
  right: string
}
