import { globSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { parse, parseAllDocuments, stringify } from 'yaml'
import { createGoTemplates, type GoFunction, isTrue } from './go-template.ts'

export type KubernetesObject = {
  apiVersion: string
  kind: string
  metadata: { name: string; labels?: Record<string, string> }
} & Record<string, unknown>

type Values = Record<string, unknown>

/** The data of the templates: `values` over those of the chart, as `helm template NAME` gives them. */
export function readChartData(chart: string, values: Values, name = 'sluice'): Record<string, unknown> {
  const { name: chartName, version, appVersion } = parse(readFileSync(join(chart, 'Chart.yaml'), 'utf8'))
  return {
    Values: mergeValues(parse(readFileSync(join(chart, 'values.yaml'), 'utf8')), values),
    Release: { Name: name, Namespace: 'default', Service: 'Helm' },
    Chart: { Name: chartName, Version: version, AppVersion: appVersion },
  }
}

/** The text of each file that the chart renders, notes included. Throws the error of a template. */
export function renderChart(chart: string, data: Record<string, unknown>): Record<string, string> {
  const templates = createGoTemplates(FUNCTIONS)
  const files = globSync('templates/*', { cwd: chart }).sort()
  for (const file of files) templates.add(basename(file), readFileSync(join(chart, file), 'utf8'))
  const shown = files.map((file) => basename(file)).filter((file) => !file.startsWith('_'))
  return Object.fromEntries(shown.map((file) => [file, templates.execute(file, data)]))
}

/** The objects that Kubernetes would get. Throws if a file is not YAML. */
export function readObjects(rendered: Record<string, string>): KubernetesObject[] {
  return Object.entries(rendered)
    .filter(([file]) => file.endsWith('.yaml'))
    .flatMap(([file, text]) =>
      parseAllDocuments(text).flatMap((document): KubernetesObject[] => {
        if (document.errors.length > 0) throw new Error(`${file}: ${document.errors[0]!.message}\n${text}`)
        const object = document.toJS() as KubernetesObject | null
        return object === null ? [] : [object]
      }),
    )
}

/** As in Helm: maps are merged member by member, everything else is replaced as a whole; null removes a default. */
function mergeValues(base: unknown, over: unknown): unknown {
  if (!isMap(base) || !isMap(over)) return over === undefined ? base : over
  const merged: Values = { ...base }
  for (const [name, value] of Object.entries(over)) {
    if (value === null && name in base) merged[name] = null
    else merged[name] = mergeValues(base[name], value)
  }
  return merged
}

function isMap(value: unknown): value is Values {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function indent(spaces: unknown, text: unknown): string {
  const pad = ' '.repeat(Number(spaces))
  return pad + String(text).replaceAll('\n', `\n${pad}`)
}

/** The functions of sprig and Helm that the chart uses. */
const FUNCTIONS: Record<string, GoFunction> = {
  contains: (part, text) => String(text).includes(String(part)),
  default: (fallback, value) => (isTrue(value) ? value : fallback),
  dict: (...pairs) =>
    Object.fromEntries(
      pairs.flatMap((key, at) => (at % 2 === 0 ? [[String(key), pairs[at + 1]] as const] : [])),
    ),
  fail: (message) => {
    throw new Error(String(message))
  },
  get: (map, key) => (map as Values)[String(key)] ?? '',
  indent,
  int64: (value) => Math.trunc(Number(value)),
  kindIs: (kind, value) => kind === 'invalid' && (value === null || value === undefined),
  list: (...values) => values,
  // The first map that has a member wins.
  merge: (...maps) => maps.reduceRight((under, over) => mergeValues(under, over)),
  nindent: (spaces, text) => `\n${indent(spaces, text)}`,
  printf: (format, ...values) => String(format).replace(/%[sd]/g, () => String(values.shift())),
  quote: (value) => (value === null || value === undefined ? '' : JSON.stringify(String(value))),
  required: (message, value) => {
    if (value === null || value === undefined || value === '') throw new Error(String(message))
    return value
  },
  toYaml: (value) => stringify(value, { lineWidth: 0 }).trimEnd(),
  trimSuffix: (suffix, text) =>
    String(text).endsWith(String(suffix)) ? String(text).slice(0, -String(suffix).length) : text,
  trunc: (length, text) => String(text).slice(0, Number(length)),
}
