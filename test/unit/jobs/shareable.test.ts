import { describe, expect, test } from 'vitest'
import { findUnshared } from '../../../jobs/shareable.ts'
import type { JsonObject } from '../../../lib/json.ts'

const body: JsonObject = { model: 'a/b', input: 'hello', messages: [{ role: 'user', content: 'hello' }] }
const fn = { type: 'function', name: 'f', parameters: {} }

describe('no answer is kept or shared', () => {
  test.each<[JsonObject, string]>([
    [{ conversation: 'conv_1' }, 'conversation'],
    [{ conversation: { id: 'conv_1' } }, 'conversation'],
    [{ previous_response_id: 'resp_of_the_provider' }, 'previous_response_id'],
    [{ store: true }, 'store'],
    [{ container: 'cntr_1' }, 'container'],
    [{ prompt: { id: 'pmpt_1' } }, 'prompt'],
    [{ prompt: { id: 'pmpt_1', variables: { a: 1 } } }, 'prompt'],
    [{ mcp_servers: [{ url: 'https://example.com' }] }, 'mcp_servers'],
    [{ web_search_options: {} }, 'web_search_options'],
    [{ search_parameters: { mode: 'auto' } }, 'search_parameters'],
    [{ plugins: [{ id: 'web' }] }, 'plugins'],
    [{ data_sources: [{ type: 'azure_search' }] }, 'data_sources'],
    ...[
      'openrouter/some/model:online',
      'perplexity/sonar',
      'sonar-deep-research',
      'openrouter/perplexity/sonar-pro',
      'openai/gpt-4o-search-preview',
      'gpt-4o-mini-search-preview-2025-03-11',
      'openai/gpt-5-search-api',
      'groq/groq/compound',
      'groq/compound-beta-mini',
    ].map((model): [JsonObject, string] => [{ model }, 'model']),
    [{ models: ['a/b', 'a/b:online'] }, 'model'],
    [{ agent_id: 'ag_1' }, 'agent_id'],
    [{ connectors: [{ id: 'web-search' }] }, 'connectors'],
    [{ enable_code_interpreter: true }, 'enable_code_interpreter'],
    [{ extra_body: { enable_search: true } }, 'extra_body.enable_search'],
    [{ extra_body: { google: { tools: [{ google_search: {} }] } } }, 'extra_body.google.tools[0]'],
    [{ input: [{ type: 'item_reference', id: 'msg_1' }] }, 'input[0]'],
    ...[
      'mcp',
      'code_interpreter',
      'computer_use_preview',
      'computer',
      'local_shell',
      'shell',
      'apply_patch',
      'image_generation',
      'web_search',
      'web_search_preview_2025_03_11',
      'file_search',
      'tool_search',
      'web_search_20250305',
      'code_execution_20250522',
      'bash_20250124',
      'text_editor_20250728',
      'memory_20250818',
      'mcp_toolset',
      'x_search',
      'browser_search',
      'not known yet',
    ].map((type): [JsonObject, string] => [{ tools: [fn, { type }] }, 'tools[1]']),
    [{ tools: [{ googleSearch: {} }] }, 'tools[0]'],
    [{ tools: [{ codeExecution: {} }] }, 'tools[0]'],
    [{ tools: [{ functionDeclarations: [], urlContext: {} }] }, 'tools[0]'],
    [{ tools: [{ type: 'namespace', tools: [fn, { type: 'mcp' }] }] }, 'tools[0]'],
  ])('%j', (members, place) => {
    expect(findUnshared('response', { ...body, ...members })).toBe(place)
    expect(findUnshared('chat', { ...body, ...members })).toBe(place)
  })
})

describe('one answer is enough', () => {
  test.each<JsonObject>([
    {},
    { conversation: null, previous_response_id: null, container: null, prompt: null },
    { store: false },
    { metadata: { a: 'b' } },
    { prompt: { id: 'pmpt_1', version: '2' } },
    { tools: [] },
    { tools: [fn, { type: 'custom', name: 'c' }, { type: 'function', function: { name: 'g' } }] },
    { tools: [{ name: 'f', input_schema: {} }] },
    { tools: [{ functionDeclarations: [{ name: 'f' }] }] },
    { tools: [{ type: 'namespace', name: 'n', tools: [fn] }] },
    { temperature: 1, seed: 3, background: true, user: 'u' },
    { extra_body: { google: { thinking_config: { include_thoughts: true } }, tools: [fn] } },
    { model: 'a/sonarqube-helper', models: ['b/compounds', 'c/search-previewer'] },
    { mcp_servers: [], plugins: [], enable_search: false, web_search_options: null },
  ])('%j', (members) => {
    expect(findUnshared('response', { ...body, ...members })).toBeNull()
  })

  test('unless a model behind its alias looks things up', () => {
    expect(findUnshared('chat', { ...body, model: 'news' }, ['gpt-5', 'sonar-pro'])).toBe('model')
    expect(findUnshared('chat', { ...body, model: 'news' }, ['gpt-5'])).toBeNull()
  })

  test('embeddings depend on nothing else', () => {
    expect(findUnshared('embedding', { model: 'a/b', input: 'x', store: true })).toBeNull()
  })
})
