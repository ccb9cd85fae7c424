/**
 * Where the time of CPU profiles went: `node bench/self-time.ts FILE.cpuprofile…`, for profiles made by `npm run
 * bench -- --profile DIR` or `node --cpu-prof`. For each it prints the functions and the files with the most self
 * time.
 */
import { readFileSync } from 'node:fs'
import { basename } from 'node:path'

type Frame = { functionName: string; url: string; lineNumber: number }
type Profile = { nodes: { id: number; callFrame: Frame }[]; samples: number[]; timeDeltas: number[] }

const ROWS = 45

for (const path of process.argv.slice(2)) {
  const profile: Profile = JSON.parse(readFileSync(path, 'utf8'))
  const frames = new Map(profile.nodes.map(({ id, callFrame }) => [id, callFrame]))
  const functions = new Map<string, number>()
  const files = new Map<string, number>()
  let busy = 0
  for (const [index, id] of profile.samples.entries()) {
    const frame = frames.get(id)!
    if (frame.functionName === '(idle)') continue
    const ms = (profile.timeDeltas[index] ?? 0) / 1000
    const file = shorten(frame.url)
    busy += ms
    add(functions, `${frame.functionName || '(anonymous)'} ${file}:${frame.lineNumber + 1}`, ms)
    add(files, file === '' ? frame.functionName : file, ms)
  }
  console.log(`\n${basename(path)}: ${Math.round(busy)} ms busy`)
  for (const [title, times] of Object.entries({ functions, files })) {
    console.log(` ${title}`)
    for (const [name, ms] of [...times].sort((a, b) => b[1] - a[1]).slice(0, ROWS)) {
      console.log(
        `  ${((ms / busy) * 100).toFixed(1).padStart(5)} % ${ms.toFixed(0).padStart(6)} ms  ${name}`,
      )
    }
  }
}

function add(times: Map<string, number>, name: string, ms: number): void {
  times.set(name, (times.get(name) ?? 0) + ms)
}

/** From the root of the repository, or of the package. */
function shorten(url: string): string {
  const root = new URL('..', import.meta.url).href
  return url.replace(root, '').replace(/^.*node_modules\//, '')
}
