/** The proxies that requests go out by. URLs may hold credentials: never to be shown. */
export type ProxySettings = {
  /** For http:// addresses; null: they are reached directly. */
  http: string | null
  /** For https:// addresses. */
  https: string | null
  /** Hosts that are reached directly, as NO_PROXY has them: `localhost,.internal,10.0.0.5:8000`. */
  noProxy: string
}

/** What the configuration says of proxies. */
export type ProxyConfig = { proxy?: string | undefined; no_proxy?: readonly string[] | undefined }

type Environment = Readonly<Record<string, string | undefined>>

/** A proxy's URL in the environment that cannot be one. Names the variable, and never shows its value. */
export class ProxyError extends Error {}

/**
 * The proxies to use; null: none. The configuration goes before HTTPS_PROXY, HTTP_PROXY and NO_PROXY, which may be in small
 * letters as well; https:// addresses take HTTP_PROXY where there is no HTTPS_PROXY.
 *
 * @throws ProxyError
 */
export function chooseProxy(config: ProxyConfig, env: Environment): ProxySettings | null {
  if (config.proxy === 'none') return null
  const noProxy = config.no_proxy?.join(',') ?? read(env, 'NO_PROXY')?.value ?? ''
  if (config.proxy !== undefined) return { http: config.proxy, https: config.proxy, noProxy }
  const http = readUrl(env, 'HTTP_PROXY')
  const https = readUrl(env, 'HTTPS_PROXY') ?? http
  return http === null && https === null ? null : { http, https, noProxy }
}

/** Whether a text is the URL of a proxy that can be used. */
export function isProxyUrl(text: string): boolean {
  const url = URL.parse(text)
  if (url === null || !/^https?:$/.test(url.protocol) || url.hostname === '') return false
  try {
    decodeURIComponent(url.username + url.password)
    return true
  } catch {
    return false
  }
}

/** The same for `EnvHttpProxyAgent` of undici, which would read the environment for what is undefined. */
export function toUndiciProxy({ http, https, noProxy }: ProxySettings) {
  return { httpProxy: http ?? '', httpsProxy: https ?? '', noProxy }
}

/** The same for `proxyEnv` of Node's own agents. */
export function toProxyEnv({ http, https, noProxy }: ProxySettings): Record<string, string> {
  return {
    ...(http === null ? {} : { HTTP_PROXY: http }),
    ...(https === null ? {} : { HTTPS_PROXY: https }),
    NO_PROXY: noProxy,
  }
}

/** What no message may show of a proxy: its password, as written and as meant, and what is sent of both. */
export function listProxySecrets(settings: ProxySettings | null): string[] {
  return [settings?.http, settings?.https].flatMap((text) => {
    const url = text ? URL.parse(text) : null
    if (url === null || url.password === '') return []
    const [user, password] = [url.username, url.password].map(decodeURIComponent)
    return [url.password, password!, Buffer.from(`${user}:${password}`).toString('base64')]
  })
}

function readUrl(env: Environment, name: string): string | null {
  const found = read(env, name)
  if (found === null) return null
  const url = found.value.includes('://') ? found.value : `http://${found.value}`
  if (!isProxyUrl(url)) {
    throw new ProxyError(`${found.name} in the environment: expected the http:// or https:// URL of a proxy`)
  }
  return url
}

function read(env: Environment, name: string): { name: string; value: string } | null {
  for (const spelling of [name.toLowerCase(), name]) {
    const value = env[spelling]?.trim()
    if (value) return { name: spelling, value }
  }
  return null
}
