import * as dns from 'node:dns'
import { isIP, type LookupFunction } from 'node:net'
import { Agent, buildConnector, type Dispatcher, EnvHttpProxyAgent } from 'undici'
import { type ProxySettings, toUndiciProxy } from '../lib/proxy.ts'
import { isPublicAddress } from './public-address.ts'

const MAX_URL_LENGTH = 2048

/** Resolves a name to every address it has. */
export type LookupAll = (
  hostname: string,
  options: dns.LookupOptions,
  callback: (error: NodeJS.ErrnoException | null, addresses: dns.LookupAddress[]) => void,
) => void

type UrlCheck = { ok: true } | { ok: false; reason: string }

export type AddressGuard = {
  /** Checks a URL without resolving its name. `reason` completes "url …". */
  checkUrl(url: string): UrlCheck
  /**
   * Resolves a URL's name, and throws if connecting to it is not allowed. For webhooks through a proxy, which resolves the name itself.
   * Does nothing without a proxy, or if all addresses are allowed.
   */
  checkName(url: string): Promise<void>
  /** Creates a dispatcher that connects only to allowed addresses. The caller closes it. */
  dispatcher(): Dispatcher
}

export type AddressGuardOptions = {
  /** True: webhooks may go to any address. For receivers in the own network, and for tests. */
  allowPrivateAddresses: boolean
  /** The proxy for webhooks; none by default. */
  proxy?: ProxySettings | null
  lookup?: LookupAll
  /** Whether a literal address is allowed. Tests replace it because they have only loopback addresses. */
  isPublic?: (address: string) => boolean
}

/** The connection was not attempted, because the address is not public. */
export class AddressBlockedError extends Error {
  readonly code = 'ERR_ADDRESS_BLOCKED'
  override readonly name = 'AddressBlockedError'
}

/**
 * Keeps webhooks away from addresses that only this machine's network can reach.
 *
 * The address that is checked is the address that is connected to: a literal is checked before connecting, and a name is resolved once per
 * connection, by the lookup that gives its answer to the socket. A name with any private address is refused, because a public name has no
 * reason for one.
 *
 * Node's `blockList` option cannot do this: `tls.connect` ignores it (Node 24.21), so https would not be checked. A `lookup` alone cannot
 * do it either: it is never called for literal addresses.
 */
export function createAddressGuard(options: AddressGuardOptions): AddressGuard {
  const { allowPrivateAddresses, proxy = null, lookup = lookupAll, isPublic = isPublicAddress } = options
  const isAllowed = (address: string) => allowPrivateAddresses || isPublic(address)

  function checkUrl(url: string): UrlCheck {
    if (url.length > MAX_URL_LENGTH) return refuse(`is longer than ${MAX_URL_LENGTH} characters`)
    const parsed = URL.parse(url)
    if (parsed === null) return refuse('is not an absolute URL')
    if (parsed.protocol !== 'https:' && parsed.protocol !== 'http:') return refuse('must be http or https')
    if (parsed.username !== '' || parsed.password !== '') return refuse('must not hold credentials')
    const host = parsed.hostname.replace(/^\[|\]$/g, '')
    if (isIP(host) !== 0 ? !isAllowed(host) : !allowPrivateAddresses && isLocalName(host)) {
      return refuse('must lead to a public address')
    }
    return { ok: true }
  }

  const guardedLookup: LookupFunction = (hostname, lookupOptions, callback) => {
    lookup(hostname, lookupOptions, (error, addresses) => {
      const [first] = addresses ?? []
      if (error || first === undefined) return callback(error ?? notFound(hostname), [])
      if (!addresses.every(({ address }) => isAllowed(address))) {
        return callback(new AddressBlockedError('the name leads to an address that is not public'), [])
      }
      if (lookupOptions.all) callback(null, addresses)
      else callback(null, first.address, first.family)
    })
  }

  function dispatcher(): Dispatcher {
    const connect = buildConnector({ allowH2: false, lookup: guardedLookup })
    const settings: Agent.Options = {
      allowH2: false,
      connect: (target, callback) => {
        if (isIP(target.hostname) !== 0 && !isAllowed(target.hostname)) {
          callback(new AddressBlockedError('the address is not public'), null)
        } else {
          connect(target, callback)
        }
      },
    }
    // The proxy itself is configured and may be private: undici connects to it with another connector.
    return proxy === null
      ? new Agent(settings)
      : new EnvHttpProxyAgent({ ...settings, ...toUndiciProxy(proxy) })
  }

  async function checkName(url: string): Promise<void> {
    const host = new URL(url).hostname
    // Literals were checked with the URL.
    if (proxy === null || allowPrivateAddresses || isIP(host.replace(/^\[|\]$/g, '')) !== 0) return
    await new Promise<void>((resolve, reject) => {
      guardedLookup(host, { all: true }, (error) => (error ? reject(error) : resolve()))
    })
  }

  return { checkUrl, checkName, dispatcher }
}

const lookupAll: LookupAll = (hostname, options, callback) => {
  dns.lookup(hostname, { ...options, all: true }, callback)
}

/** Names that are loopback by definition (RFC 6761). Others have to be resolved. */
function isLocalName(host: string): boolean {
  return /(^|\.)localhost\.?$/.test(host)
}

function refuse(reason: string): UrlCheck {
  return { ok: false, reason }
}

function notFound(hostname: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`no address for ${hostname}`), { code: 'ENOTFOUND' })
}
