import { ConfigError } from '../config/load.ts'
import type { Config } from '../config/schema.ts'
import { chooseProxy, ProxyError, type ProxySettings } from '../lib/proxy.ts'

/** The proxies of this process: those of the configuration, else of its environment. A variable that is none is a fault. */
export function readProxy({ network }: Pick<Config, 'network'>): ProxySettings | null {
  try {
    return chooseProxy(network, process.env)
  } catch (error) {
    if (error instanceof ProxyError) throw new ConfigError([error.message])
    throw error
  }
}
