import { readFileSync } from 'node:fs'
import { basename, resolve } from 'node:path'
import { z } from 'zod'
import { shownWhole } from '../lib/describe-error.ts'
import type { Environment } from './environment.ts'
import { type ConfigFault, describeIssue, type FaultPath, formatPath } from './faults.ts'
import { type Config, configSchema } from './schema.ts'
import { readYaml, type YamlSource } from './yaml-source.ts'

/** The configuration is invalid. Each fault has the form `path: what is wrong (file:line)` and contains no secret. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly [shownWhole] = true
  /** EX_CONFIG of sysexits.h. */
  readonly exitCode = 78
  readonly faults: readonly string[]

  constructor(faults: readonly string[]) {
    super(
      `${faults.length === 1 ? 'a fault' : `${faults.length} faults`} in the configuration\n  ${faults.join('\n  ')}`,
    )
    this.faults = faults
  }
}

export type LoadOptions = {
  path: string
  env: Environment
  /** The content of the file, if it was already read. */
  text?: string
}

/** The path of the configuration: `--config`, else SLUICE_CONFIG, else sluice.yaml in the working directory. Absolute. */
export function findConfigPath({ path, env, cwd }: { path?: string; env: Environment; cwd: string }): string {
  return resolve(cwd, path || env.SLUICE_CONFIG || 'sluice.yaml')
}

/** Reads, expands and checks the configuration. Throws a `ConfigError` that lists all faults. */
export function loadConfig({ path, env, text = readText(path) }: LoadOptions): Config {
  const source = readYaml({ text, env })
  const overridden = source.readable
    ? overrideListening(source.data, env)
    : { data: undefined, names: new Map() }
  const checked = source.readable ? check(overridden.data, overridden.names, source) : { faults: [] }
  const faults = [...source.faults, ...checked.faults]
  if (faults.length === 0 && checked.config !== undefined) return checked.config
  throw new ConfigError(listFaults(faults, overridden.names, source, basename(path)))
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code !== 'ENOENT')
      throw new ConfigError([`${path}: cannot be read${code === undefined ? '' : ` (${code})`}`])
    const advice =
      'create one with "cp sluice.example.yaml sluice.yaml", or name another with --config PATH or SLUICE_CONFIG'
    throw new ConfigError([`${path}: no such file; ${advice}`])
  }
}

/** Members that environment variables override. */
const OVERRIDES = [
  { name: 'HOST', path: ['server', 'host'] },
  { name: 'PORT', path: ['server', 'port'] },
  { name: 'WORKER_HOST', path: ['worker', 'listen', 'host'] },
  { name: 'WORKER_PORT', path: ['worker', 'listen', 'port'] },
] as const

/** Applies HOST, PORT and similar variables to the data. Also returns which variable each overridden path came from. */
function overrideListening(data: unknown, env: Environment): { data: unknown; names: Map<string, string> } {
  const names = new Map<string, string>()
  let overridden: unknown = data ?? {}
  for (const { name, path } of OVERRIDES) {
    const text = env[name]
    if (!text) continue
    // A host without a port: if no port is configured, nothing listens there.
    if (name === 'WORKER_HOST' && !env.WORKER_PORT && !hasMember(overridden, ['worker', 'listen'])) continue
    names.set(path.join('.'), name)
    overridden = putAt(overridden, path, path.at(-1) === 'port' ? (toNumber(text) ?? text) : text)
  }
  return { data: overridden, names }
}

/** Sets a value in the data. Returns the data unchanged if something other than a mapping is in the way. */
function putAt(data: unknown, [step, ...rest]: readonly string[], value: unknown): unknown {
  if (step === undefined) return value
  const members = data ?? {}
  return isRecord(members) ? { ...members, [step]: putAt(members[step], rest, value) } : data
}

function hasMember(data: unknown, [step, ...rest]: readonly string[]): boolean {
  if (step === undefined) return data !== undefined && data !== null
  return isRecord(data) && hasMember(data[step], rest)
}

function check(
  data: unknown,
  names: Map<string, string>,
  source: YamlSource,
): { config?: Config; faults: ConfigFault[] } {
  let result = parse(data)
  const better = result.success ? data : convertExpanded(data, result.error.issues, source)
  if (better !== data) result = parse(better)
  if (result.success) return { config: result.data, faults: [] }
  const sourceOf = (path: FaultPath): string | undefined => {
    const name = names.get(formatPath(path))
    return name === undefined ? source.expandedAt(path)?.source : `\${${name}}`
  }
  const faults = result.error.issues.flatMap((issue) => describeIssue(issue, sourceOf))
  return { faults: faults.filter((fault) => !isExplained(fault.path, source.faults)) }
}

function parse(data: unknown) {
  return configSchema.safeParse(data, {
    reportInput: true,
    error: (issue) => {
      if (issue.code !== 'unrecognized_keys' || !(issue.inst instanceof z.ZodObject)) return undefined
      return `unknown member; known here: ${Object.keys(issue.inst.shape).join(', ')}`
    },
  })
}

/**
 * A variable is text. If it stands alone and unquoted, it becomes a number or a boolean where the schema expects one. Only then, so that a
 * key of digits stays a string.
 */
function convertExpanded(data: unknown, issues: readonly z.core.$ZodIssue[], source: YamlSource): unknown {
  let converted = data
  for (const issue of issues) {
    if (issue.code !== 'invalid_type' || typeof issue.input !== 'string') continue
    const path = issue.path.map((step) => (typeof step === 'number' ? step : String(step)))
    if (source.expandedAt(path)?.plain !== true) continue
    const value = issue.expected === 'boolean' ? toBoolean(issue.input) : toNumber(issue.input)
    if (value !== undefined) converted = replaceAt(converted, path, value)
  }
  return converted
}

/** Whether a fault of reading, such as a variable that is not set, already explains the invalid value. */
function isExplained(path: FaultPath, faults: readonly ConfigFault[]): boolean {
  const text = formatPath(path)
  return faults.some((fault) => formatPath(fault.path) === text)
}

function listFaults(
  faults: readonly ConfigFault[],
  names: Map<string, string>,
  source: YamlSource,
  file: string,
): string[] {
  const placed = faults.map(({ path, message, line }) => {
    const place = formatPath(path)
    const found = line ?? source.lineOf(path)
    const where = names.has(place) ? `${names.get(place)} in the environment` : `${file}:${found}`
    return { line: found, text: `${place === '' ? '' : `${place}: `}${message} (${where})` }
  })
  return [...new Set(placed.sort((a, b) => a.line - b.line).map(({ text }) => text))]
}

function toNumber(text: string): number | undefined {
  return /^-?\d+(?:\.\d+)?$/.test(text) ? Number(text) : undefined
}

function toBoolean(text: string): boolean | undefined {
  return text === 'true' ? true : text === 'false' ? false : undefined
}

function replaceAt(data: unknown, path: FaultPath, value: unknown): unknown {
  const [step, ...rest] = path
  if (step === undefined) return value
  if (Array.isArray(data))
    return data.map((item, index) => (index === step ? replaceAt(item, rest, value) : item))
  return isRecord(data) ? { ...data, [step]: replaceAt(data[step], rest, value) } : data
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
