import { readFileSync } from 'node:fs'
import { Command } from 'commander'
import { expect, test } from 'vitest'
import { ExitCode } from '../../../cli/exit.ts'
import { addCommands } from '../../../cli/program.ts'
import { readCommandSources } from '../../helpers/command-sources.ts'

const read = (path: string) => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8')
const page = read('docs/cli.md')

test('every command and every option of one has its place on the page of the command line', () => {
  const source = readCommandSources()
  const commands = [...source.matchAll(/program\s*\.command\('([\w-]+)'\)/g)].map((match) => match[1]!)
  expect(commands.length).toBeGreaterThanOrEqual(15)
  expect(commands.filter((name) => !page.includes(`\n## ${name}\n`))).toEqual([])
  const options = [...source.matchAll(/--[a-z-]+/g)].map(([name]) => name)
  expect(options.filter((name) => !page.includes(name))).toEqual([])
})

test('every exit code is on the page of the command line', () => {
  expect(Object.values(ExitCode).filter((code) => !page.includes(`\n| ${code} | `))).toEqual([])
})

test('the help of every command says what the command and each of its options do', () => {
  const program = new Command('sluice')
  addCommands(program, process)
  const list = (command: Command): Command[] => [command, ...command.commands.flatMap(list)]
  const commands = program.commands.flatMap(list)
  expect(commands.length).toBeGreaterThan(40)
  expect(commands.filter((command) => command.description() === '').map((command) => command.name())).toEqual(
    [],
  )
  const silent = commands.flatMap((command) =>
    command.options
      .filter((option) => option.description === '')
      .map((option) => `${command.name()} ${option.flags}`),
  )
  expect(silent).toEqual([])
})
