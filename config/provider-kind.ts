/** The API of a provider. */
export type ProviderKind = 'openai' | 'azure-openai' | 'anthropic' | 'gemini' | 'openai-compatible'
