import { parseArgs } from 'node:util'
import { refuseListening } from '../lib/system-refusal.ts'
import { findDialect } from './dialects.ts'
import { parseFault } from './faults.ts'
import { parseFamily, parseKeyLimits } from './key-limits.ts'
import { ENFORCEMENTS, LIMITS_LIKE_NAMES, TOKEN_COUNTINGS } from './limits-like.ts'
import type { SimulatedLimits, SimulatorOptions } from './options.ts'
import { createSimulator } from './simulator.ts'

const HELP = `Usage: node main.ts simulator [options]

An OpenAI-shaped provider on your machine: deterministic answers, enforced limits, faults on demand.

  --port N            port to listen on (default 9999; 0: any free one)
  --host HOST         address to listen on (default 127.0.0.1)
  --rpm N             requests a minute, of each model (default: no limit)
  --tpm N             tokens a minute, of each model (default: no limit)
  --ipm N             pictures a minute, of each model (default: no limit)
  --audio-seconds N   seconds of sound a minute, of each model (default: no limit)
  --concurrency N     calls at once, of each model (default: no limit)
  --enforcement KIND  bucket (refills continuously, starts full; default), window (strict sliding
                      window) or fixed (windows of the clock)
  --window MS         length of that window (default 60000)
  --limits-like NAME  enforces and reports limits like: openai, anthropic, azure-1s, azure-10s, gemini,
                      sliding-log
  --token-counting K  estimate (includes max_tokens; default) or used (corrected to the tokens used)
  --latency MS        time before the first byte (default 0)
  --jitter MS         most random time added to the latency (default 0)
  --per-token MS      time for each output token (default 0)
  --output-tokens N   mean length of an answer (default 16)
  --dimensions N      length of vectors (default 1536)
  --family RULE       NAME=MODEL,MODEL[:rpm=N][:tpm=N][:concurrency=N]: limits that these models
                      share, besides their own; may be repeated
  --key RULE          KEY[:rpm=N][:tpm=N][:concurrency=N]: an API key with limits of its own; may
                      be repeated; any other key gets a 401 (default: all keys are accepted)
  --model NAME        a model that exists; may be repeated (default: every model exists)
  --fault RULE        KIND[:rate=R][:times=N][:ms=MS][:retry_after=MS]; may be repeated
  --dialect NAME      the dialect of all answers, or MODEL=NAME; may be repeated: azure, dashscope,
                      deepseek, gemini, groq, llama.cpp, lm-studio, minimax, mistral, moonshot,
                      ollama, openai, openrouter, plain, sglang, vllm, voyage, zhipu
  --huge-bytes N      size of the answer of the fault huge (default 83886080)
  --seed N            seed of jitter and fault rates (default 1)
  --help              prints this text

State: GET /_sim/state, GET /_sim/calls. Control: POST /_sim/faults, /_sim/limits, /_sim/reset.
`

export type SimulatorArguments = { help: boolean; port: number; host: string; options: SimulatorOptions }

/**
 * Reads the command line.
 *
 * @throws TypeError for an unknown option or an invalid value
 */
export function simulatorOptionsFromArgs(args: string[]): SimulatorArguments {
  const { values } = parseArgs({
    args,
    options: {
      port: { type: 'string', default: '9999' },
      host: { type: 'string', default: '127.0.0.1' },
      rpm: { type: 'string' },
      tpm: { type: 'string' },
      ipm: { type: 'string' },
      'audio-seconds': { type: 'string' },
      concurrency: { type: 'string' },
      enforcement: { type: 'string' },
      window: { type: 'string' },
      'limits-like': { type: 'string' },
      'token-counting': { type: 'string' },
      latency: { type: 'string', default: '0' },
      jitter: { type: 'string', default: '0' },
      'per-token': { type: 'string', default: '0' },
      'output-tokens': { type: 'string', default: '16' },
      dimensions: { type: 'string', default: '1536' },
      family: { type: 'string', multiple: true },
      key: { type: 'string', multiple: true },
      model: { type: 'string', multiple: true },
      fault: { type: 'string', multiple: true },
      dialect: { type: 'string', multiple: true },
      'huge-bytes': { type: 'string' },
      seed: { type: 'string', default: '1' },
      help: { type: 'boolean', default: false },
    },
  })
  const limits: SimulatedLimits = {}
  if (values.rpm !== undefined) limits.requests_per_minute = readNumber('--rpm', values.rpm)
  if (values.tpm !== undefined) limits.tokens_per_minute = readNumber('--tpm', values.tpm)
  if (values.ipm !== undefined) limits.images_per_minute = readNumber('--ipm', values.ipm)
  const sound = values['audio-seconds']
  if (sound !== undefined) limits.audio_seconds_per_minute = readNumber('--audio-seconds', sound)
  if (values.concurrency !== undefined)
    limits.max_concurrency = readNumber('--concurrency', values.concurrency)
  const options: SimulatorOptions = {
    limits,
    latencyMs: readNumber('--latency', values.latency),
    jitterMs: readNumber('--jitter', values.jitter),
    perTokenMs: readNumber('--per-token', values['per-token']),
    outputTokens: readNumber('--output-tokens', values['output-tokens']),
    dimensions: readNumber('--dimensions', values.dimensions),
    seed: readNumber('--seed', values.seed),
    faults: (values.fault ?? []).map((text) => {
      const rule = parseFault(text)
      if (!rule) throw new TypeError(`--fault: no such kind in "${text}"`)
      return rule
    }),
  }
  if (values.enforcement !== undefined)
    options.enforcement = readName('--enforcement', values.enforcement, ENFORCEMENTS)
  if (values.window !== undefined) options.window = readNumber('--window', values.window)
  if (values['limits-like'] !== undefined)
    options.limitsLike = readName('--limits-like', values['limits-like'], LIMITS_LIKE_NAMES)
  if (values['token-counting'] !== undefined)
    options.tokenCounting = readName('--token-counting', values['token-counting'], TOKEN_COUNTINGS)
  for (const text of values.family ?? []) {
    const rule = parseFamily(text)
    if (rule === null) throw new TypeError(`--family: expected NAME=MODEL,MODEL[:rpm=N], got "${text}"`)
    options.families = { ...options.families, [rule.name]: rule.family }
  }
  for (const text of values.key ?? []) {
    const rule = parseKeyLimits(text)
    if (rule === null) throw new TypeError(`--key: expected KEY[:rpm=N][:tpm=N], got "${text}"`)
    options.keyLimits = { ...options.keyLimits, [rule.key]: rule.limits }
  }
  for (const text of values.dialect ?? []) {
    const cut = text.lastIndexOf('=')
    const name = text.slice(cut + 1)
    if (!findDialect(name)) throw new TypeError(`--dialect: no such dialect: "${name}"`)
    if (cut === -1) options.dialect = name
    else options.modelDialects = { ...options.modelDialects, [text.slice(0, cut)]: name }
  }
  if (values['huge-bytes'] !== undefined) options.hugeBytes = readNumber('--huge-bytes', values['huge-bytes'])
  if (values.model) options.models = values.model
  return { help: values.help, port: readNumber('--port', values.port), host: values.host, options }
}

/**
 * Starts a simulator from the command line and prints one line with its address. With `--help` it only prints the help.
 *
 * @throws TypeError for an invalid command line, and the error of `listen` if the port is in use
 */
export async function runSimulator(
  args: string[],
  print: (text: string) => void = (text) => process.stdout.write(text),
): Promise<{ url: string | null; close(): Promise<void> }> {
  const { help, port, host, options } = simulatorOptionsFromArgs(args)
  if (help) {
    print(HELP)
    return { url: null, close: async () => {} }
  }
  const simulator = createSimulator(options)
  const url = await simulator.listen(port, host).catch((error: unknown) => {
    throw refuseListening(error, { host, port }, { host: '--host', port: '--port' })
  })
  print(`simulator: ${url}\n`)
  return { url, close: simulator.close }
}

function readName<Name extends string>(option: string, text: string, names: readonly Name[]): Name {
  const name = names.find((one) => one === text)
  if (name === undefined) throw new TypeError(`${option}: expected one of ${names.join(', ')}, got "${text}"`)
  return name
}

function readNumber(name: string, text: string): number {
  const value = Number(text)
  if (text.trim() === '' || !(value >= 0)) throw new TypeError(`${name}: expected a number, got "${text}"`)
  return value
}
