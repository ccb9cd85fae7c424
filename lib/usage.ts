/**
 * Tokens as the provider counted them. `input_tokens` holds the cached and the written ones, `output_tokens` those of reasoning. A detail
 * is there where the provider tells it and it is not 0.
 */
export type Usage = {
  input_tokens: number
  /** Read from the provider's prompt cache. */
  cached_input_tokens?: number
  /** Written to the provider's prompt cache; of these, those kept for an hour. */
  cache_write_tokens?: number
  cache_write_1h_tokens?: number
  audio_input_tokens?: number
  output_tokens: number
  reasoning_tokens?: number
  audio_output_tokens?: number
  total_tokens: number
  /** Seconds of audio, where the provider counts them. */
  audio_seconds?: number
  /** Images that the answer holds. */
  images?: number
}
