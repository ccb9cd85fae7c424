/** One step of a Dockerfile, with what is set for it by the steps before. */
export type Step = {
  instruction: string
  /** The text of the step, with continued lines joined. */
  text: string
  /** `--from=package` and the like. */
  options: Record<string, string>
  arguments: string[]
}

export type Stage = { base: string; name: string | null; steps: Step[] }

/** Reads the stages of a Dockerfile. JSON forms are read as such; heredocs and variables are not supported. */
export function parseDockerfile(text: string): Stage[] {
  const lines = text
    .split('\n')
    .filter((line) => !line.startsWith('#'))
    .join('\n')
    .replaceAll(/\\\n\s*/g, ' ')
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
  const stages: Stage[] = []
  for (const line of lines) {
    const [, instruction = '', rest = ''] = /^(\S+)\s*([\s\S]*)$/.exec(line) ?? []
    if (instruction === 'FROM') {
      const [base = '', , name = null] = rest.split(/\s+/)
      stages.push({ base, name, steps: [] })
    } else stages.at(-1)!.steps.push(parseStep(instruction, rest))
  }
  return stages
}

function parseStep(instruction: string, rest: string): Step {
  const options: Record<string, string> = {}
  let text = rest
  for (let match = /^--(\w[\w-]*)=(\S+)\s*/.exec(text); match; match = /^--(\w[\w-]*)=(\S+)\s*/.exec(text)) {
    options[match[1]!] = match[2]!
    text = text.slice(match[0].length)
  }
  const words = /^\[/.test(text) ? (JSON.parse(text) as string[]) : text.split(/\s+/)
  return { instruction, text, options, arguments: words }
}

/** The variables of `ENV`: `A=1 B=2`. */
export function parseEnvironment(text: string): Record<string, string> {
  return Object.fromEntries([...text.matchAll(/(\w+)=(\S+)/g)].map(([, name, value]) => [name!, value!]))
}

/** Whether a file of the repository reaches the build, by the lines of .dockerignore: the last match decides. */
export function isInContext(path: string, ignore: readonly string[]): boolean {
  let isIgnored = false
  for (const line of ignore) {
    const pattern = line.replace(/^!/, '')
    const fits = pattern === '*' || path === pattern || path.startsWith(`${pattern}/`)
    if (fits) isIgnored = !line.startsWith('!')
  }
  return !isIgnored
}
