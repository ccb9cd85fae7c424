import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Question, Reply, Usage } from './serve-parent.ts'

export type Child = {
  /** Asks the process; rejects with its error, or when it ends instead of answering. */
  ask<Answer>(method: string, argument?: unknown): Promise<Answer>
  /** CPU time since its start, ms. */
  cpuMs(): Promise<number>
  /** What `ready` matched. */
  match: RegExpExecArray
  /** Ends it at once, as a crashing machine does, and resolves when it is gone. */
  crash(): Promise<void>
  /** Ends it by SIGTERM and resolves when it is gone. */
  close(): Promise<void>
}

export type StartChildOptions = {
  name: string
  /** Options of Node, and the file with its arguments. */
  args: string[]
  env?: Record<string, string>
  /** The output that says it is ready. */
  ready: RegExp
  /** Where its CPU profile goes; null: none. */
  profile: string | null
}

/** How much of a child's output is kept to explain its end. */
const OUTPUT_KEPT = 4000
/** A child that does not end by itself is killed after this. */
const END_MS = 15_000

/** Starts a Node process of the bench and resolves when it is ready. */
export async function startChild(options: StartChildOptions): Promise<Child> {
  const { name, args, env = {}, ready, profile } = options
  const profiling =
    profile === null ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`, `--cpu-prof-name=${name}.cpuprofile`]
  const child = spawn(process.execPath, [...profiling, ...args], {
    cwd: fileURLToPath(new URL('..', import.meta.url)),
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  })
  const output = keepOutput(child)
  const exited = once(child, 'exit').then(([code, signal]) => {
    return new Error(`${name} ended with ${code ?? signal}:\n${output.text}`)
  })
  const asked = new Map<number, PromiseWithResolvers<unknown>>()
  exited.then((error) => {
    for (const { reject } of asked.values()) reject(error)
  })
  child.on('message', ({ id, answer, error }: Reply) => {
    const question = asked.get(id)
    asked.delete(id)
    if (error === undefined) question?.resolve(answer)
    else question?.reject(new Error(`${name}: ${error}`))
  })
  let questions = 0
  const ask = <Answer>(method: string, argument?: unknown) => {
    const question = Promise.withResolvers<unknown>()
    const id = questions++
    asked.set(id, question)
    child.send({ id, method, argument } satisfies Question)
    return question.promise as Promise<Answer>
  }
  const match = await Promise.race([output.find(ready), exited])
  if (match instanceof Error) throw match
  return {
    ask,
    match,
    cpuMs: async () => (await ask<Usage>('usage')).cpuMs,
    async crash() {
      child.kill('SIGKILL')
      await exited
    },
    async close() {
      const timer = setTimeout(() => child.kill('SIGKILL'), END_MS)
      child.kill('SIGTERM')
      await exited
      clearTimeout(timer)
    },
  }
}

function keepOutput(child: ChildProcess) {
  const output = {
    text: '',
    find: (expression: RegExp) =>
      new Promise<RegExpExecArray>((resolve) => {
        const look = () => {
          const match = expression.exec(output.text)
          if (match !== null) resolve(match)
        }
        child.stdout?.on('data', look)
      }),
  }
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      output.text = (output.text + text).slice(-OUTPUT_KEPT)
    })
  }
  return output
}
