import { expect, test } from 'vitest'
import { readShellBlocks, splitCommands } from '../../helpers/shell-blocks.ts'

test('a page is read block by block, and only those of the shell', () => {
  const page =
    '# Page\n\n```sh\none\n```\n```\nits output\n```\n\n```json\n{}\n```\n\n```sh\ntwo  # why\n\nthree\n```\n'
  expect(readShellBlocks('page.md', page)).toEqual([
    { page: 'page.md', line: 3, commands: ['one'] },
    { page: 'page.md', line: 14, commands: ['two', 'three'] },
  ])
})

test.each([
  ['a line', 'curl -s url', ['curl -s url']],
  ['a backslash at its end', 'curl -s \\\n  url\nls', ['curl -s \\\n  url', 'ls']],
  ['an open quote', `curl -d '{\n  "a": 1 }'\nls`, [`curl -d '{\n  "a": 1 }'`, 'ls']],
  ['a quote within another', `echo "it's" && ls\nls`, [`echo "it's" && ls`, 'ls']],
  ['an apostrophe in a comment', "one # it's one\ntwo", ['one', 'two']],
  ['a number sign that is no comment', 'curl url#part', ['curl url#part']],
  [
    'a here-document',
    "cat > f <<'END'\na: 'b\n# kept\nEND\nls",
    ["cat > f <<'END'\na: 'b\n# kept\nEND", 'ls'],
  ],
])('a command is read to its end: %s', (_name, script, commands) => {
  expect(splitCommands(script)).toEqual(commands)
})

test('a command without an end is reported', () => {
  expect(() => splitCommands("echo 'open")).toThrow('no end')
})
