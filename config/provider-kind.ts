/** Which API a provider speaks. */
export type ProviderKind = 'openai' | 'azure-openai' | 'anthropic' | 'gemini' | 'openai-compatible'
