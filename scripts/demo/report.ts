import { styleText } from 'node:util'
import { chatLimits, embeddingLimits } from './stack.ts'
import type { Row, Summary } from './summary.ts'

/** The closing table, as text. */
export function renderReport(summary: Summary): string {
  const { rows, limit } = summary
  const alone = Math.ceil(summary.embeddingJobs / embeddingLimits.requests_per_minute)
  const lines = [
    '',
    styleText(
      'bold',
      `${''.padEnd(32)}${['jobs', 'answered', 'failed', 'wait p50', 'wait p95'].map(toCell).join('')}`,
    ),
    renderRow('acme: chats, all at once', rows.chats),
    renderRow('acme: embeddings, all at once', rows.embeddings),
    renderRow('birch: a streamed chat at a time', rows.streamed),
    '',
    fact('provider calls', count(summary.calls), `for ${count(summary.jobs)} jobs`),
    fact(
      'coalesced',
      count(summary.embeddingJobs),
      `embedding jobs shared ${count(summary.embeddingCalls)} requests; one request each would take ${alone} minutes`,
    ),
    fact(
      'shared and cached',
      count(summary.shared + summary.cached),
      `jobs needed no call: ${count(summary.shared)} shared a running one, ${count(summary.cached)} were in the cache`,
    ),
    fact(
      'retried',
      count(summary.retried),
      `jobs: the provider answered ${count(summary.faults)} of their calls with a 500, on purpose`,
    ),
    fact('429s', count(summary.rejections), 'caused by Sluice; the providers asked for no pause'),
    ...(limit.seconds === 0 ? [] : [renderLimit(limit)]),
    fact('paid twice', count(summary.paidTwice), "prompts, by the provider's own bill"),
    fact(
      'cost',
      dollars(summary.costUsd),
      `instead of ${dollars(summary.costWithoutSharingUsd)} without sharing`,
    ),
    '',
    styleText(
      'dim',
      'wait: from submission to answer. The provider refuses one embedding on purpose; it is the one that failed.',
    ),
    '',
  ]
  return lines.join('\n')
}

function renderLimit({ requests, tokens, seconds }: Summary['limit']): string {
  const { requests_per_minute, tokens_per_minute } = chatLimits
  return fact(
    'limit used',
    percent(requests),
    `of ${count(requests_per_minute)} requests a minute over ${seconds} busy seconds ` +
      `(${percent(tokens)} of ${count(tokens_per_minute)} tokens)`,
  )
}

function renderRow(name: string, row: Row): string {
  const cells = [
    count(row.jobs),
    count(row.answered),
    count(row.failed),
    time(row.waitP50),
    time(row.waitP95),
  ]
  return `${name.padEnd(32)}${cells.map(toCell).join('')}`
}

function fact(name: string, value: string, explanation: string): string {
  return `${name.padEnd(20)}${styleText('bold', value.padStart(10))}   ${explanation}`
}

function toCell(text: string): string {
  return text.padStart(10)
}

function count(number: number): string {
  return number.toLocaleString('en')
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`
}

function time(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`
}

function dollars(amount: number): string {
  return `$${amount.toFixed(4)}`
}
