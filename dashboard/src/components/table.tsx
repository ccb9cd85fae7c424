import type { ComponentChildren } from 'preact'

export type Column = {
  name: string
  isNumber?: boolean
  isHidden?: boolean
  /** How the rows are sorted by this column. A column without `onSort` cannot be sorted. */
  sort?: 'ascending' | 'descending' | 'none'
  onSort?: () => void
}

/**
 * A table that scrolls sideways if it is wider than the page, also by keyboard. On a narrow page each row becomes a card, with the
 * name of the column before each cell.
 */
export function Table(props: {
  caption: string
  /** True shows the caption above the table; otherwise only screen readers get it. */
  isCaptionShown?: boolean
  head: Column[]
  children: ComponentChildren
}) {
  const { caption, isCaptionShown = false, head, children } = props
  const names = head.map(({ name, isHidden }, index) => [
    `--column-${index + 1}`,
    isHidden ? '""' : JSON.stringify(name),
  ])
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reachable by keys
    // biome-ignore lint/a11y/useSemanticElements: a region of a page, not a section of its outline
    <div class="table" role="region" aria-label={caption} tabIndex={0}>
      <table class="cards" style={Object.fromEntries(names)}>
        <caption class={isCaptionShown ? undefined : 'unseen'}>{caption}</caption>
        <thead>
          <tr>
            {head.map(({ name, isNumber, isHidden, sort, onSort }) => (
              <th key={name} scope="col" class={isNumber ? 'right' : undefined} aria-sort={sort}>
                {onSort === undefined ? (
                  <span class={isHidden ? 'unseen' : undefined}>{name}</span>
                ) : (
                  <button type="button" class="sort" onClick={onSort}>
                    {name}
                    {sort === 'ascending' ? ' ▴' : sort === 'descending' ? ' ▾' : ''}
                  </button>
                )}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  )
}
