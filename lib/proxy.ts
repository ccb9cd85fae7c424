/** The proxies for outgoing requests. URLs may contain credentials, so they must never be shown. */
export type ProxySettings = {
  /** For http:// addresses; null: direct connections. */
  http: string | null
  /** For https:// addresses. */
  https: string | null
  /** Hosts that are connected directly, in the form of NO_PROXY: `localhost,.internal,10.0.0.5:8000`. */
  noProxy: string
}

/** The proxy settings of the configuration. */
export type ProxyConfig = { proxy?: string | undefined; no_proxy?: readonly string[] | undefined }

type Environment = Readonly<Record<string, string | undefined>>

/** An invalid proxy URL in the environment. The message names the variable and never shows its value. */
export class ProxyError extends Error {}

/**
 * The proxies to use; null: none. The configuration takes precedence over HTTPS_PROXY, HTTP_PROXY and NO_PROXY, which may be lower case as
 * well. https:// addresses use HTTP_PROXY if there is no HTTPS_PROXY.
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

/** Whether a text is a usable proxy URL. */
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

/** The same for undici's `EnvHttpProxyAgent`, which would read the environment for undefined options. */
export function toUndiciProxy({ http, https, noProxy }: ProxySettings) {
  return { httpProxy: http ?? '', httpsProxy: https ?? '', noProxy }
}

/** The same for the `proxyEnv` option of Node's own agents. */
export function toProxyEnv({ http, https, noProxy }: ProxySettings): Record<string, string> {
  return {
    ...(http === null ? {} : { HTTP_PROXY: http }),
    ...(https === null ? {} : { HTTPS_PROXY: https }),
    NO_PROXY: noProxy,
  }
}

/** The parts of a proxy's URL that no message may show: its password, as written and decoded, and the header values made from both. */
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
