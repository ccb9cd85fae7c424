import { Counter, Gauge, type Registry } from '@prometheus-io/client'

export type FileStoreOperation = 'write' | 'read' | 'remove' | 'check'

/** What a process asks the stores of files outside of Redis. */
export function createFileMetrics(registry: Registry) {
  const registers = [registry]
  const operations = new Counter({
    name: 'sluice_file_store_operations_total',
    help: 'What stores of files outside of Redis were asked, by whether they did it.',
    labelNames: ['store', 'operation', 'outcome'] as const,
    registers,
  })
  const seconds = new Counter({
    name: 'sluice_file_store_seconds_total',
    help: 'Time that stores of files outside of Redis took, with the time of clients that sent what was written.',
    labelNames: ['store', 'operation'] as const,
    registers,
  })
  const bytes = new Counter({
    name: 'sluice_file_store_bytes_total',
    help: 'Bytes as stored that were written to and read from stores of files outside of Redis.',
    labelNames: ['store', 'operation'] as const,
    registers,
  })
  const fault = new Gauge({
    name: 'sluice_file_store_fault',
    help: 'Whether the store of files failed when it was asked last, 1 or 0.',
    labelNames: ['store'] as const,
    registers,
  })
  return {
    onOperation(done: {
      store: string
      operation: FileStoreOperation
      hasFailed: boolean
      ms: number
      bytes: number
    }): void {
      const { store, operation } = done
      operations.inc({ store, operation, outcome: done.hasFailed ? 'failed' : 'done' })
      seconds.inc({ store, operation }, done.ms / 1000)
      if (done.bytes > 0) bytes.inc({ store, operation }, done.bytes)
      fault.set({ store }, done.hasFailed ? 1 : 0)
    },
  }
}
