import { Counter, Gauge, type Registry } from '@prometheus-io/client'

export type FileStoreOperation = 'write' | 'read' | 'remove' | 'check'

/** Metrics of file stores outside of Redis. */
export function createFileMetrics(registry: Registry) {
  const registers = [registry]
  const operations = new Counter({
    name: 'sluice_file_store_operations_total',
    help: 'Operations of file stores outside of Redis, by outcome.',
    labelNames: ['store', 'operation', 'outcome'] as const,
    registers,
  })
  const seconds = new Counter({
    name: 'sluice_file_store_seconds_total',
    help: 'Duration of operations of file stores outside of Redis, including the time of clients that sent the content.',
    labelNames: ['store', 'operation'] as const,
    registers,
  })
  const bytes = new Counter({
    name: 'sluice_file_store_bytes_total',
    help: 'Bytes as stored that were written to and read from file stores outside of Redis.',
    labelNames: ['store', 'operation'] as const,
    registers,
  })
  const fault = new Gauge({
    name: 'sluice_file_store_fault',
    help: 'Whether the last operation of the file store failed, 1 or 0.',
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
