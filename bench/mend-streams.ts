// Preloaded into Portkey's gateway. Its version 1.15.2 answers every stream of an OpenAI-like provider with 500 on
// Node 24: it adds headers to those of the upstream's answer, which fetch makes immutable. Here such answers get
// mutable headers; all others stay unchanged.
const fetchUpstream = globalThis.fetch

globalThis.fetch = async (...args) => {
  const answer = await fetchUpstream(...args)
  if (!answer.headers.get('content-type')?.startsWith('text/event-stream')) return answer
  const headers = new Headers(answer.headers)
  return Object.defineProperty(answer, 'headers', { value: headers })
}
