/**
 * Tokens as the provider counted them. `input_tokens` includes cached and written tokens, `output_tokens` includes reasoning tokens. A
 * detail is present if the provider reports it and it is not 0.
 */
export type Usage = {
  input_tokens: number
  /** Read from the provider's prompt cache. */
  cached_input_tokens?: number
  /** Written to the provider's prompt cache; below, the part that is kept for an hour. */
  cache_write_tokens?: number
  cache_write_1h_tokens?: number
  audio_input_tokens?: number
  output_tokens: number
  reasoning_tokens?: number
  audio_output_tokens?: number
  total_tokens: number
  /** Seconds of audio, if the provider counts them. */
  audio_seconds?: number
  /** Number of images in the answer. */
  images?: number
}
