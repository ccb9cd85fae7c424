/**
 * A report in steps that outlive the process (docs/durable.md). Kill it whenever you like, and run it again with the same id: what is
 * done is done, what it cost is paid, and it goes on.
 *
 *   node examples/typescript/durable.ts report-1 "the rivers of Europe"
 *   node examples/typescript/durable.ts --approve report-1
 */
import { createClient } from '../../client/index.ts'

const {
  SLUICE_URL: url = 'http://127.0.0.1:8080',
  SLUICE_MODEL: model = 'sim/chat-small',
  SLUICE_KEY: key,
} = process.env
const CHAPTERS = ['past', 'present', 'future']

type Completion = { choices: { message: { content: string } }[] }

const client = createClient({ url, ...(key && { key }) })

if (process.argv[2] === '--approve') {
  await client.durable.signal(process.argv[3] ?? 'report-1', 'approval', { ok: true })
  console.log('approved')
} else {
  const [, , id = 'report-1', topic = 'the rivers of Europe'] = process.argv
  const text = await writeReport(id, topic)
  const { cost_usd } = await client.group(id)
  console.log(`${text}\n$${cost_usd}`)
}

function writeReport(id: string, topic: string): Promise<string> {
  /** Equal prompts in every run: what a step asks for may not change under its name. */
  const ask = (content: string) => ({
    type: 'chat' as const,
    group: id,
    body: { model, messages: [{ role: 'user', content }] },
  })
  return client.durable(id, async (step) => {
    const write = async (name: string, prompt: string) => {
      const { choices } = await step.job<Completion>(name, ask(prompt))
      console.error(`${name} is written`)
      return choices[0]!.message.content
    }
    const outline = await write('outline', `Outline a report on ${topic}.`)
    const chapters = await step.all(
      CHAPTERS.map((part) => write(`chapter: ${part}`, `Write about the ${part} of ${topic}.\n\n${outline}`)),
    )
    await step.sleep('let it rest', '1s')
    console.error(`waiting for: node examples/typescript/durable.ts --approve ${id}`)
    const approval = await step.signal<{ ok: boolean }>('approval')
    if (!approval.ok) return 'nobody wanted it'
    return write('final', `Make one text of these.\n\n${chapters.join('\n\n')}`)
  })
}
