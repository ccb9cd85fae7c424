import type { Command } from 'commander'

export const shells = ['bash', 'zsh', 'fish'] as const
export type Shell = (typeof shells)[number]

/** A command of the tree. `words`: its words after the program's name. */
type Node = { words: string[]; commands: Named[]; options: Named[] }
type Named = { name: string; description: string; takesValue: boolean }

/** A script that completes the program's commands and options in a shell, and file names where nothing else matches. */
export function renderCompletion(shell: Shell, program: Command): string {
  const nodes = listNodes(program, [])
  const name = program.name()
  if (shell === 'fish') return renderFish(name, nodes)
  return shell === 'bash' ? renderBash(name, nodes) : renderZsh(name, nodes)
}

function listNodes(command: Command, words: string[]): Node[] {
  const commands = command.commands.map((child) => ({
    name: child.name(),
    description: child.description(),
    takesValue: false,
  }))
  const options = command.createHelp().visibleOptions(command)
  const node = {
    words,
    commands,
    options: options.flatMap(({ long, description, required, optional }) =>
      long ? [{ name: long, description, takesValue: required || optional }] : [],
    ),
  }
  return [node, ...command.commands.flatMap((child) => listNodes(child, [...words, child.name()]))]
}

function wordsOf({ commands, options }: Node): string {
  return [...commands, ...options].map(({ name }) => name).join(' ')
}

function renderBash(name: string, nodes: Node[]): string {
  const cases = nodes.map((node) => `    '${node.words.join(' ')}') words='${wordsOf(node)}' ;;`)
  return `# eval "$(${name} completion bash)"
_${name}() {
  local current="\${COMP_WORDS[COMP_CWORD]}" command='' words=''
  local index
  for ((index = 1; index < COMP_CWORD; index++)); do
    case "\${COMP_WORDS[index]}" in -*) break ;; esac
    ((index > 2)) && break
    command="\${command:+$command }\${COMP_WORDS[index]}"
  done
  case "$command" in
${cases.join('\n')}
    *) case "\${command%% *}" in
${cases.map((line) => `  ${line}`).join('\n')}
      esac ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _${name} ${name}
`
}

function renderZsh(name: string, nodes: Node[]): string {
  const cases = nodes.map(
    (node) =>
      `    '${node.words.join(' ')}') entries=(${[...node.commands, ...node.options].map(quoteZsh).join(' ')}) ;;`,
  )
  return `#compdef ${name}
# eval "$(${name} completion zsh)"
_${name}() {
  local command='' word
  local -a entries
  for word in "\${(@)words[2,CURRENT-1]}"; do
    [[ $word == -* ]] && break
    command="\${command:+$command }$word"
  done
  case "$command" in
${cases.join('\n')}
    *) case "\${command%% *}" in
${cases.map((line) => `  ${line}`).join('\n')}
      esac ;;
  esac
  if [[ \${words[CURRENT]} != -* && \${entries[1]} == --* ]]; then
    _files
  else
    _describe '${name}' entries
  fi
}
compdef _${name} ${name}
`
}

function renderFish(name: string, nodes: Node[]): string {
  const lines = nodes.flatMap((node) => {
    const condition =
      node.words.length === 0
        ? '__fish_use_subcommand'
        : node.words.map((word) => `__fish_seen_subcommand_from ${word}`).join('; and ')
    const commands = node.commands.map(
      (command) =>
        `complete -c ${name} -f -n '${condition}' -a ${command.name} -d ${quote(command.description)}`,
    )
    const options = node.options.map(
      (option) =>
        `complete -c ${name} -n '${condition}' -l ${option.name.slice(2)}${option.takesValue ? ' -r' : ''} -d ${quote(option.description)}`,
    )
    return [...commands, ...options]
  })
  return `# ${name} completion fish | source\n${lines.join('\n')}\n`
}

function quoteZsh({ name, description }: Named): string {
  return quote(`${name}:${description.replaceAll(':', ' ')}`)
}

function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`
}
