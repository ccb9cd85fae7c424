import { describe, expect, it } from 'vitest'
import { createAddressGuard } from '../../../webhooks/address-guard.ts'

const guard = createAddressGuard({ allowPrivateAddresses: false })
const open = createAddressGuard({ allowPrivateAddresses: true })

describe('checkUrl', () => {
  it.each([
    'https://hooks.example.com/sluice?x=1',
    'http://hooks.example.com:8080',
    'https://8.8.8.8/hook',
    'https://[2606:4700:4700::1111]:8443/',
    'https://localhost.example.com/',
  ])('takes %s', (url) => {
    expect(guard.checkUrl(url)).toEqual({ ok: true })
  })

  it.each([
    ['/hook', 'is not an absolute URL'],
    ['', 'is not an absolute URL'],
    ['https://', 'is not an absolute URL'],
    ['https://127.0.0.256/', 'is not an absolute URL'],
    ['ftp://hooks.example.com/', 'must be http or https'],
    ['file:///etc/passwd', 'must be http or https'],
    ['unix:/run/docker.sock', 'must be http or https'],
    ['https://user@hooks.example.com/', 'must not hold credentials'],
    ['https://:secret@hooks.example.com/', 'must not hold credentials'],
    [`https://hooks.example.com/${'x'.repeat(2048)}`, 'is longer than 2048 characters'],
    ['http://169.254.169.254/latest/meta-data/', 'must lead to a public address'],
    ['http://localhost:8080/', 'must lead to a public address'],
    ['http://LOCALHOST./', 'must lead to a public address'],
    ['http://redis.localhost/', 'must lead to a public address'],
  ])('refuses %s, for it %s', (url, reason) => {
    expect(guard.checkUrl(url)).toEqual({ ok: false, reason })
  })

  it.each(['http://127.0.0.1:8080/', 'http://localhost/', 'http://[::1]/', 'https://10.1.2.3/'])(
    'takes %s where private addresses are allowed',
    (url) => {
      expect(open.checkUrl(url)).toEqual({ ok: true })
    },
  )

  it('refuses credentials and other schemes even where private addresses are allowed', () => {
    expect(open.checkUrl('http://user:pass@127.0.0.1/').ok).toBe(false)
    expect(open.checkUrl('gopher://127.0.0.1/').ok).toBe(false)
  })
})
