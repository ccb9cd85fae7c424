import { describe, expect, it, test } from 'vitest'
import { refuseOutput } from '../../../cli/output-file.ts'
import { describeError } from '../../../lib/describe-error.ts'
import { refuseFolder, refuseListening } from '../../../lib/system-refusal.ts'

const failed = (code: string) =>
  Object.assign(new Error(`${code}: raw, open '/a/secret'`), { code, syscall: 'open' })

describe.each([
  ['EACCES', 2],
  ['EPERM', 2],
  ['EROFS', 2],
  ['ENOENT', 2],
  ['ENOTDIR', 2],
  ['EEXIST', 2],
  ['EISDIR', 2],
  ['ENAMETOOLONG', 2],
  ['ENOSPC', 1],
  ['EDQUOT', 1],
])('%s', (code, exitCode) => {
  it('is reported with the place, the reason and what to do', () => {
    const { message } = describeError(refuseFolder(failed(code), 'the data folder', '/a/b', 'Do this.'))
    expect(message).toMatch(/^the data folder \/a\/b: [a-z][\w' -]+\. Do this\.$/)
    expect(message).not.toContain(code)
  })
  it(`ends a command with ${exitCode}`, () => {
    const refusal = refuseOutput(failed(code), '/a/b', '--out') as Error
    expect(refusal).toMatchObject({ name: 'CliError', exitCode })
    expect(refusal.message).toMatch(/^--out: \/a(\/b)?: [a-z][\w' -]+\. [A-Z][\w ,-]+\.$/)
  })
})

test.each(['EADDRINUSE', 'EACCES', 'EADDRNOTAVAIL', 'ENOTFOUND', 'EAI_AGAIN', 'EAFNOSUPPORT'])(
  'a server that cannot listen for %s says where, why and what to set',
  (code) => {
    const settings = { host: 'server.host', port: 'server.port' }
    const { message } = describeError(refuseListening(failed(code), { host: '::1', port: 80 }, settings))
    expect(message).toMatch(/^cannot listen at \[::1\]:80: .+ server\.(host|port)\.$/)
  },
)

test('an error that is not a refusal of the system is left unchanged', () => {
  const error = failed('ERR_OTHER')
  expect(refuseFolder(error, 'folder', '/a', 'Do this.')).toBe(error)
  expect(refuseOutput(error, '/a/b', '--out')).toBe(error)
  expect(refuseListening(error, { host: 'a', port: 1 }, { host: 'h', port: 'p' })).toBe(error)
})
