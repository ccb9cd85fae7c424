import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { isInContext, parseDockerfile, parseEnvironment, type Step } from './dockerfile.ts'
import { copyRoot, runIn } from './roots.ts'

/** A built image: its root, and how to run it. */
export type Image = {
  root: string
  env: Record<string, string>
  folder: string
  user: string
  command: string[]
  healthCheck: string[]
  volumes: string[]
}

/**
 * Does what a Dockerfile says, each stage in a root of its own below `folder`. Knows the instructions that ours has, and fails with any other.
 *
 * @param base the root that stands in for each base image
 */
export function buildImage(
  repository: string,
  base: string,
  folder: string,
  say: (line: string) => void,
): Image {
  const stages = parseDockerfile(readFileSync(join(repository, 'Dockerfile'), 'utf8'))
  const roots = new Map<string, string>()
  let image: Image | null = null
  for (const [at, stage] of stages.entries()) {
    const root = join(folder, `stage-${at}`)
    copyRoot(base, root)
    roots.set(stage.name ?? String(at), root)
    image = { root, env: {}, folder: '/', user: 'root', command: [], healthCheck: [], volumes: [] }
    for (const step of stage.steps) {
      say(`${step.instruction} ${step.text.slice(0, 100)}`)
      take(step, image, { repository, roots })
    }
  }
  if (image === null) throw new Error('the Dockerfile has no stage')
  return image
}

type Sources = { repository: string; roots: ReadonlyMap<string, string> }

function take(step: Step, image: Image, sources: Sources): void {
  const [first = ''] = step.arguments
  switch (step.instruction) {
    case 'WORKDIR':
      image.folder = first
      mkdirSync(join(image.root, first), { recursive: true })
      return
    case 'ENV':
      Object.assign(image.env, parseEnvironment(step.text))
      return
    case 'RUN':
      runIn(image.root, image.folder, step.text, image.env)
      return
    case 'COPY':
      copy(step, image, sources)
      return
    case 'USER':
      image.user = first
      return
    case 'VOLUME':
      image.volumes.push(first)
      return
    case 'CMD':
      image.command = step.arguments
      return
    case 'HEALTHCHECK':
      image.healthCheck = JSON.parse(step.text.slice(step.text.indexOf('['))) as string[]
      return
    case 'ENTRYPOINT':
      if (step.text !== '[]') throw new Error(`an entrypoint: ${step.text}`)
      return
    case 'EXPOSE':
      return
    default:
      throw new Error(`unknown instruction ${step.instruction}`)
  }
}

function copy(step: Step, { root, folder }: Image, { repository, roots }: Sources): void {
  const sources = step.arguments.slice(0, -1)
  const target = join(root, folder, step.arguments.at(-1)!)
  const stage = step.options.from
  if (stage !== undefined) {
    const from = roots.get(stage)
    if (from === undefined) throw new Error(`no stage ${stage}`)
    for (const source of sources)
      cpSync(join(from, source), target, { recursive: true, verbatimSymlinks: true })
    return
  }
  const ignore = readFileSync(join(repository, '.dockerignore'), 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
  const files = execFileSync('git', ['ls-files', '-z', '--', ...sources], {
    cwd: repository,
    encoding: 'utf8',
  })
    .split('\0')
    .filter((path) => path !== '' && isInContext(path, ignore))
  for (const path of files) {
    // One named file is copied under its own name; of a folder the content is copied.
    const isFile = sources.some((source) => source === path && statSync(join(repository, path)).isFile())
    const to = join(target, isFile ? basename(path) : path)
    mkdirSync(dirname(to), { recursive: true })
    cpSync(join(repository, path), to)
  }
}
