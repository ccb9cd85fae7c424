import { isIPv4, isIPv6 } from 'node:net'

/**
 * IPv4 ranges that are not public. Source: IANA IPv4 Special-Purpose Address Registry. The last one is a public address that the host of
 * every Azure machine answers.
 */
const PRIVATE_V4 = [
  '0.0.0.0/8', // this network; Linux connects 0.0.0.0 to itself
  '10.0.0.0/8',
  '100.64.0.0/10', // carrier-grade NAT
  '127.0.0.0/8',
  '169.254.0.0/16', // link-local, cloud metadata
  '172.16.0.0/12',
  '192.0.0.0/24', // IETF protocol assignments
  '192.0.2.0/24', // documentation
  '192.88.99.0/24', // 6to4 relays, deprecated
  '192.168.0.0/16',
  '198.18.0.0/15', // benchmarking
  '198.51.100.0/24', // documentation
  '203.0.113.0/24', // documentation
  '224.0.0.0/4', // multicast
  '240.0.0.0/4', // reserved, and the broadcast address
  '168.63.129.16/32', // Azure's platform address
].map(parseRange)

/** IPv6 is refused by default: only global unicast is public, except for these ranges. */
const GLOBAL_V6 = parseRange('2000::/3')
const PRIVATE_V6 = [
  '2001::/23', // IETF protocol assignments: Teredo, benchmarking, ORCHID
  '2001:db8::/32', // documentation
  '2002::/16', // 6to4: carries any IPv4 address
  '3fff::/20', // documentation
].map(parseRange)

/** Prefixes whose last 32 bits are an IPv4 address: mapped (RFC 4291) and NAT64 (RFC 6052). */
const EMBEDDING_V4 = ['::ffff:0:0/96', '64:ff9b::/96'].map(parseRange)

type AddressRange = { bytes: number[]; bits: number }

/** Whether a literal address is public. False for anything that does not parse, and for an address with a zone. */
export function isPublicAddress(address: string): boolean {
  const bytes = parseAddress(address)
  if (bytes === null) return false
  if (bytes.length === 4) return !PRIVATE_V4.some((range) => contains(range, bytes))
  if (EMBEDDING_V4.some((range) => contains(range, bytes))) {
    return !PRIVATE_V4.some((range) => contains(range, bytes.slice(12)))
  }
  return contains(GLOBAL_V6, bytes) && !PRIVATE_V6.some((range) => contains(range, bytes))
}

/** The 4 or 16 bytes of a literal address; null when it is not one. */
function parseAddress(address: string): number[] | null {
  if (isIPv4(address)) return address.split('.').map(Number)
  if (!isIPv6(address) || address.includes('%')) return null
  const [head = '', tail] = address.split('::')
  const front = parseGroups(head)
  if (tail === undefined) return front
  const back = parseGroups(tail)
  return [...front, ...new Array<number>(16 - front.length - back.length).fill(0), ...back]
}

/** The bytes of colon-separated groups, the last of which may be a dotted IPv4 address. */
function parseGroups(text: string): number[] {
  if (text === '') return []
  return text.split(':').flatMap((group) => {
    if (group.includes('.')) return group.split('.').map(Number)
    const value = Number.parseInt(group, 16)
    return [value >> 8, value & 255]
  })
}

function parseRange(text: string): AddressRange {
  const [address = '', bits] = text.split('/')
  return { bytes: parseAddress(address) ?? [], bits: Number(bits) }
}

function contains(range: AddressRange, bytes: number[]): boolean {
  if (range.bytes.length !== bytes.length) return false
  for (let bit = 0; bit < range.bits; bit += 8) {
    const mask = (0xff << Math.max(0, 8 - (range.bits - bit))) & 0xff
    const index = bit / 8
    if (((range.bytes[index] ?? 0) & mask) !== ((bytes[index] ?? 0) & mask)) return false
  }
  return true
}
