import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { isInContext, parseDockerfile, parseEnvironment } from '../../image/dockerfile.ts'

const read = (name: string) => readFileSync(new URL(`../../../${name}`, import.meta.url), 'utf8')

test('a Dockerfile is read stage by stage, with continued lines, options and JSON', () => {
  const text = `# a comment
FROM node:24-slim AS first
RUN apt-get update \\
    && apt-get install x
FROM debian
COPY --from=first /a ./b
CMD ["node", "main.js"]
`
  expect(parseDockerfile(text)).toEqual([
    {
      base: 'node:24-slim',
      name: 'first',
      steps: [expect.objectContaining({ instruction: 'RUN', text: 'apt-get update  && apt-get install x' })],
    },
    {
      base: 'debian',
      name: null,
      steps: [
        { instruction: 'COPY', text: '/a ./b', options: { from: 'first' }, arguments: ['/a', './b'] },
        expect.objectContaining({ instruction: 'CMD', arguments: ['node', 'main.js'] }),
      ],
    },
  ])
  expect(parseEnvironment('A=1 B=/x/y')).toEqual({ A: '1', B: '/x/y' })
})

test('ours has no instruction that image:check does not know', () => {
  const known = /case '(\w+)'/g
  const instructions = [...read('test/image/build.ts').matchAll(known)].map(([, name]) => name)
  const used = parseDockerfile(read('Dockerfile')).flatMap(({ steps }) =>
    steps.map((step) => step.instruction),
  )
  expect(instructions).toEqual(expect.arrayContaining([...new Set(used)]))
})

test('files in .dockerignore do not reach the build', () => {
  const ignore = ['*', '!client', 'client/dist']
  const paths = ['README.md', 'client/index.ts', 'client/dist/a.js', 'clients/a.py']
  expect(paths.filter((path) => isInContext(path, ignore))).toEqual(['client/index.ts'])
})
