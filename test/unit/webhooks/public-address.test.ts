import { isIP } from 'node:net'
import { describe, expect, it } from 'vitest'
import { isPublicAddress } from '../../../webhooks/public-address.ts'

/** The first and last address of each private range, with its public neighbours if it has any. */
const v4Ranges: [first: string, last: string, before: string | null, after: string | null][] = [
  ['0.0.0.0', '0.255.255.255', null, '1.0.0.0'],
  ['10.0.0.0', '10.255.255.255', '9.255.255.255', '11.0.0.0'],
  ['100.64.0.0', '100.127.255.255', '100.63.255.255', '100.128.0.0'],
  ['127.0.0.0', '127.255.255.255', '126.255.255.255', '128.0.0.0'],
  ['169.254.0.0', '169.254.255.255', '169.253.255.255', '169.255.0.0'],
  ['172.16.0.0', '172.31.255.255', '172.15.255.255', '172.32.0.0'],
  ['192.0.0.0', '192.0.0.255', '191.255.255.255', '192.0.1.0'],
  ['192.0.2.0', '192.0.2.255', '192.0.1.255', '192.0.3.0'],
  ['192.88.99.0', '192.88.99.255', '192.88.98.255', '192.88.100.0'],
  ['192.168.0.0', '192.168.255.255', '192.167.255.255', '192.169.0.0'],
  ['198.18.0.0', '198.19.255.255', '198.17.255.255', '198.20.0.0'],
  ['198.51.100.0', '198.51.100.255', '198.51.99.255', '198.51.101.0'],
  ['203.0.113.0', '203.0.113.255', '203.0.112.255', '203.0.114.0'],
  ['224.0.0.0', '255.255.255.255', '223.255.255.255', null],
  ['168.63.129.16', '168.63.129.16', '168.63.129.15', '168.63.129.17'],
]

describe('isPublicAddress', () => {
  it.each(v4Ranges)('refuses %s to %s and nothing beside it', (first, last, before, after) => {
    expect([first, last].map(isPublicAddress)).toEqual([false, false])
    for (const neighbour of [before, after]) if (neighbour) expect(isPublicAddress(neighbour)).toBe(true)
  })

  it.each(v4Ranges)('refuses %s to %s inside IPv6 and nothing beside it', (first, last, before, after) => {
    for (const prefix of ['::ffff:', '64:ff9b::']) {
      expect([first, last].map((address) => isPublicAddress(prefix + address))).toEqual([false, false])
      for (const neighbour of [before, after])
        if (neighbour) expect(isPublicAddress(prefix + neighbour)).toBe(true)
    }
  })

  it.each([
    '::',
    '::1',
    '0:0:0:0:0:0:0:1',
    '::127.0.0.1',
    '::8.8.8.8',
    '::ffff:7f00:1',
    '::ffff:0:127.0.0.1',
    '64:ff9b::7f00:1',
    '64:ff9b:0:0:0:0:a00:1',
    '64:ff9b:1::808:808',
    '64:ff9b:1:ffff:ffff:ffff:ffff:ffff',
    '100::1',
    '1fff:ffff::1',
    '2001::1',
    '2001:0:4136:e378:8000:63bf:80ff:fffe',
    '2001:2::1',
    '2001:10::1',
    '2001:1ff:ffff::1',
    '2001:db8::1',
    '2001:db8:ffff:ffff:ffff:ffff:ffff:ffff',
    '2002:7f00:1::',
    '2002:808:808::1',
    '3fff::1',
    '3fff:fff:ffff::1',
    '4000::1',
    '5f00::1',
    'fc00::1',
    'fd00:ec2::254',
    'fdff:ffff::1',
    'fe80::1',
    'febf::1',
    'fec0::1',
    'ff02::1',
    'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff',
  ])('refuses %s', (address) => {
    expect(isIP(address)).toBe(6)
    expect(isPublicAddress(address)).toBe(false)
  })

  it.each(['2606:4700:4700::1111', '2001:4860:4860::8888', '2001:200::1', '2003::1', '3ffe::1', '2a00::'])(
    'takes %s',
    (address) => {
      expect(isPublicAddress(address)).toBe(true)
    },
  )

  it.each([
    '',
    'localhost',
    'example.com',
    '8.8.8',
    '0x8.8.8.8',
    '08.8.8.8',
    '8.8.8.8 ',
    '[2a00::1]',
    '2a00::1%eth0',
  ])('refuses %j, which is not a plain address', (text) => {
    expect(isPublicAddress(text)).toBe(false)
  })
})
