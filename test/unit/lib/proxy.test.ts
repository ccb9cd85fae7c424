import { describe, expect, it } from 'vitest'
import { chooseProxy, isProxyUrl, listProxySecrets, ProxyError } from '../../../lib/proxy.ts'

describe('chooseProxy', () => {
  it.each([
    ['nothing', {}, {}, null],
    ['empty variables', {}, { HTTP_PROXY: '', HTTPS_PROXY: ' ' }, null],
    ['both', {}, { HTTP_PROXY: 'http://a:1', HTTPS_PROXY: 'http://b:2' }, ['http://a:1', 'http://b:2', '']],
    ['one for both', {}, { HTTP_PROXY: 'http://a:1' }, ['http://a:1', 'http://a:1', '']],
    ['https alone', {}, { HTTPS_PROXY: 'http://b:2' }, [null, 'http://b:2', '']],
    [
      'small letters first',
      {},
      { https_proxy: 'http://c:3', HTTPS_PROXY: 'http://b:2' },
      [null, 'http://c:3', ''],
    ],
    ['no scheme', {}, { HTTP_PROXY: 'proxy:3128' }, ['http://proxy:3128', 'http://proxy:3128', '']],
    ['exceptions', {}, { HTTP_PROXY: 'http://a:1', NO_PROXY: 'b,.c' }, ['http://a:1', 'http://a:1', 'b,.c']],
    [
      'the configuration',
      { proxy: 'http://x:9' },
      { HTTP_PROXY: 'http://a:1', NO_PROXY: 'b' },
      ['http://x:9', 'http://x:9', 'b'],
    ],
    [
      'its exceptions',
      { no_proxy: ['d', '.e'] },
      { HTTP_PROXY: 'http://a:1', NO_PROXY: 'b' },
      ['http://a:1', 'http://a:1', 'd,.e'],
    ],
    ['none', { proxy: 'none' }, { HTTP_PROXY: 'http://a:1' }, null],
  ] as const)('reads %s', (_what, config, env, expected) => {
    const chosen = chooseProxy(config, env)
    expect(chosen && [chosen.http, chosen.https, chosen.noProxy]).toEqual(expected)
  })

  it.each(['socks5://user:sesame-open@a:1', 'http://', 'http://a:port', 'http://u:%zz@a:1'])(
    'refuses %s, naming the variable and not what it holds',
    (value) => {
      expect(() => chooseProxy({}, { https_proxy: value })).toThrow(ProxyError)
      expect(() => chooseProxy({}, { https_proxy: value })).toThrow(/^https_proxy in the environment: /)
      expect(() => chooseProxy({}, { https_proxy: value })).not.toThrow(/sesame/)
      expect(isProxyUrl(value)).toBe(false)
    },
  )
})

it('lists what no message may show of a proxy', () => {
  const secrets = listProxySecrets(chooseProxy({ proxy: 'http://user:s%40sam@a:1' }, {}))
  expect(secrets).toContain('s%40sam')
  expect(secrets).toContain('s@sam')
  expect(secrets).toContain(Buffer.from('user:s@sam').toString('base64'))
  expect(listProxySecrets(null)).toEqual([])
})
