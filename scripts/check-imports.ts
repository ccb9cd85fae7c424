import { glob, readFile } from 'node:fs/promises'
import { relative, sep } from 'node:path'
import { type Program, parseSync, Visitor } from 'oxc-parser'
import { findImportFaults, type Module } from './import-walls.ts'

/** Faults of all source files under the root; see import-walls.ts. */
export async function checkImports(root: string): Promise<string[]> {
  const modules: Module[] = []
  const found = glob('**/*.{ts,tsx,mjs,js}', {
    cwd: root,
    withFileTypes: true,
    exclude: (entry) =>
      entry.name === 'node_modules' ||
      entry.name === 'coverage' ||
      entry.name === 'dist' ||
      entry.name.startsWith('.'),
  })
  for await (const entry of found) {
    if (!entry.isFile()) continue
    const file = `${entry.parentPath}${sep}${entry.name}`
    const path = relative(root, file).replaceAll(sep, '/')
    modules.push({ path, imports: readImports(path, await readFile(file, 'utf8')) })
  }
  return findImportFaults(modules.sort((a, b) => (a.path < b.path ? -1 : 1)))
}

/** Everything that a file imports by name: statically, dynamically, or for a type. */
export function readImports(path: string, source: string): string[] {
  const { program, errors } = parseSync(path, source)
  if (errors.length > 0) throw new Error(`${path}: ${errors.map(({ message }) => message).join('; ')}`)
  return [...new Set(collectImports(program))]
}

function collectImports(program: Program): string[] {
  const names: string[] = []
  const add = (node: unknown) => {
    if (typeof node !== 'object' || node === null || !('value' in node)) return
    if (typeof node.value === 'string') names.push(node.value)
  }
  new Visitor({
    ImportDeclaration: ({ source }) => add(source),
    ExportNamedDeclaration: ({ source }) => add(source),
    ExportAllDeclaration: ({ source }) => add(source),
    ImportExpression: ({ source }) => add(source),
    TSImportType: ({ source }) => add(source),
  }).visit(program)
  return names
}
