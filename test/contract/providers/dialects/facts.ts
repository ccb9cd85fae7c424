/** What a provider says otherwise than OpenAI; the simulator says it so too. */
export type DialectFacts = {
  /** In simulator/dialects.ts. */
  name: string
  provider: string
  /** The public reports or pages that it was read from. */
  reported: string
  sends: string
  /** What is to come of it. */
  right: string
}
