/**
 * What most answers have in common: the members of a chat completion and of a response, and frequent words. Compression
 * treats this as text that came before the answer. So a stored answer of 1 KB takes a third of its size, and not three
 * fifths.
 *
 * Stored answers refer to these bytes: never change them. Another dictionary needs a mark of its own (payload.ts).
 */
export const ANSWER_DICTIONARY = Buffer.from(
  [
    '{"id":"resp_0","object":"response","created_at":17,"status":"completed","background":false,"error":null,"incomplete_details":null,',
    '"instructions":null,"max_output_tokens":null,"max_tool_calls":null,"output":[{"id":"rs_0","type":"reasoning","summary":[]},{"id":"msg_0",',
    '"type":"message","status":"completed","content":[{"type":"output_text","annotations":[],"logprobs":[],"text":""}],"role":"assistant"}],',
    '"parallel_tool_calls":true,"previous_response_id":null,"prompt_cache_key":null,"reasoning":{"effort":"medium","summary":null},',
    '"safety_identifier":null,"service_tier":"default","store":true,"temperature":1,"text":{"format":{"type":"text"},"verbosity":"medium"},',
    '"tool_choice":"auto","tools":[],"top_logprobs":0,"top_p":1,"truncation":"disabled","usage":{"input_tokens":0,"input_tokens_details":',
    '{"cached_tokens":0},"output_tokens":0,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":0},"user":null,"metadata":{}}',
    ' because between through however example different another without following important first second their there would could should ',
    'about which while where when what with have this that from will your into more than some other these they then also been were such ',
    'used using only each most make like time can may not but are was all one two has its for you and the of to in is it on as be by or if',
    '. The . This . It . In . If . For . You . We . To . A \\n\\n- **: ** \\n\\n### \\n\\n1. \\n```\\n',
    '"reasoning_content":"","tool_calls":[{"id":"call_0","type":"function","function":{"name":"","arguments":"{\\"\\":\\"\\"}"}}],',
    '"finish_reason":"tool_calls"}],"finish_reason":"length"}],"native_finish_reason":"stop","provider":"",',
    '{"id":"chatcmpl-0","object":"chat.completion","created":17,"model":"gpt-5-mini","choices":[{"index":0,"message":{"role":"assistant",',
    '"content":"","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":0,"completion_tokens":0,',
    '"total_tokens":0,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,',
    '"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}},"service_tier":"default","system_fingerprint":null}',
  ].join(''),
)
