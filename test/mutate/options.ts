import { parseArgs } from 'node:util'

export type Options = { only: RegExp | null; isList: boolean; checksFirst: boolean }

export const HELP = `Usage: npm run mutate -- [options]

Breaks the product in many small ways, one after the other, in a copy of this checkout, and runs the tests that have to
notice. Exits 1 when fewer than 95% of the breaks are caught, when one survives without a reason in the list, when a break's
text is not in its file any more, or when a test fails without any break. Takes about half an hour.

  --only PATTERN  the breaks whose file or meaning matches this regular expression
  --list          shows the breaks, and runs nothing
  --unchecked     does not run the tests without any break first
  --help          this text
`

/**
 * Reads the command line; null when it asks for help.
 *
 * @throws TypeError for an unknown option, SyntaxError for an invalid pattern
 */
export function readOptions(args: string[]): Options | null {
  const { values } = parseArgs({
    args,
    options: {
      only: { type: 'string' },
      list: { type: 'boolean', default: false },
      unchecked: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return null
  const only = values.only === undefined ? null : new RegExp(values.only, 'i')
  return { only, isList: values.list, checksFirst: !values.unchecked }
}
