import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { PYTHON_CLIENT } from '../../helpers/python.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))

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
    const members = [...(body ?? '').matchAll(/^ {4}(\w+): /gm)].map(([, member]) => member!)
    expect(members.length, name).toBeGreaterThan(0)
    const known = new RegExp(`^export type ${type} = ([\\s\\S]*?)(?=^export type )`, 'm').exec(api)?.[1] ?? ''
    for (const member of members)
      expect(known, `${name}.${member}`).toMatch(new RegExp(`^ +${member}\\??: `, 'm'))
  }
  const types = /^JobType = Literal\[([\s\S]*?)\]/m.exec(python)?.[1] ?? ''
  const kinds = (source: string, quote: string) =>
    [
      ...new Set([...source.matchAll(new RegExp(`${quote}(\\w+)${quote}`, 'g'))].map(([, kind]) => kind!)),
    ].sort()
  const job = /^export type Job = [\s\S]*?^ {2}type: (.*)$/m.exec(api)?.[1] ?? ''
  expect(kinds(types, '"')).toEqual(kinds(job, "'"))
})
