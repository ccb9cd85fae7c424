/**
 * The value of a table's own member; undefined for any other name. Use it for names from outside: `table[name]` would also find what every
 * object inherits (`constructor`, `valueOf`).
 */
export function lookUp<Value>(table: Readonly<Record<string, Value>>, name: string): Value | undefined {
  return Object.hasOwn(table, name) ? table[name] : undefined
}
