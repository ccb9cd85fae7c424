import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { CallType } from '../../../lib/call-type.ts'
import { PYTHON_CLIENT } from '../../helpers/python.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))

/** The members at this indentation, each with its type; of a union, those of its first kind that has one. */
function readMembers(source: string, indent: number): Map<string, string> {
  const all = source.matchAll(
    new RegExp(`^ {${indent}}(\\w+)\\??: (.*\\n(?: {${indent + 1}}.*\\n)*(?: {${indent}}[\\]})].*)?)`, 'gm'),
  )
  const found = new Map<string, string>()
  for (const [, name, type] of all) if (!found.has(name!)) found.set(name!, type!.trim())
  return found
}

test('the Python client knows every type of job', async () => {
  const python = await readFile(join(PYTHON_CLIENT, 'sluice_client/types.py'), 'utf8')
  const [, names = ''] = /^JobType = Literal\[(.*?)\]/ms.exec(python) ?? []
  expect([...names.matchAll(/"(\w+)"/g)].map(([, name]) => name).sort()).toEqual(
    Object.values(CallType).sort(),
  )
})

test("the Python client's types name members that the API has", async () => {
  const python = await readFile(join(PYTHON_CLIENT, 'sluice_client/types.py'), 'utf8')
  const api = await readFile(join(root, 'client/openapi.ts'), 'utf8')
  const classes = { _CreateRequired: 'CreateJob', CreateJob: 'CreateJob', _JobRequired: 'Job', Job: 'Job' }
  const others = {
    Attempt: 'Attempt',
    Group: 'Group',
    BulkAnswer: 'BulkAnswer',
    JobError: 'JobError',
  }
  for (const [name, type] of Object.entries({ ...classes, ...others })) {
    const body = new RegExp(`^class ${name}\\(.*\\):\\n([\\s\\S]*?)(?=^class |\\Z)`, 'm').exec(
      `${python}class `,
    )?.[1]
    const members = readMembers(body ?? '', 4)
    expect(members.size, name).toBeGreaterThan(0)
    const known = new RegExp(`^export type ${type} = ([\\s\\S]*?)(?=^export type )`, 'm').exec(api)?.[1] ?? ''
    const theirs = readMembers(known, 2)
    for (const [member, annotation] of members) {
      expect([...theirs.keys()], name).toContain(member)
      if (annotation !== 'Any')
        expect(annotation.endsWith('| None'), `${name}.${member}: ${annotation}`).toBe(
          theirs.get(member)!.endsWith('| null'),
        )
    }
    if (name === 'Group') expect([...members.keys()]).toEqual([...theirs.keys()])
  }
  const types = /^JobType = Literal\[([\s\S]*?)\]/m.exec(python)?.[1] ?? ''
  const kinds = (source: string, quote: string) =>
    [
      ...new Set([...source.matchAll(new RegExp(`${quote}(\\w+)${quote}`, 'g'))].map(([, kind]) => kind!)),
    ].sort()
  const job = /^export type Job = [\s\S]*?^ {2}type: (.*)$/m.exec(api)?.[1] ?? ''
  expect(kinds(types, '"')).toEqual(kinds(job, "'"))
})
