import { ConfigError } from '../config/load.ts'
import type { Config } from '../config/schema.ts'
import { chooseProxy, ProxyError, type ProxySettings } from '../lib/proxy.ts'

/** The proxies of this process: from the configuration, or else from its environment. An invalid variable is a configuration error. */
export function readProxy({ network }: Pick<Config, 'network'>): ProxySettings | null {
  try {
    return chooseProxy(network, process.env)
  } catch (error) {
    if (error instanceof ProxyError) throw new ConfigError([error.message])
    throw error
  }
}
