import type { ComponentChildren } from 'preact'

export type Column = {
  name: string
  isNumber?: boolean
  isHidden?: boolean
  /** How the rows are sorted by it, if they are; without `onSort` they cannot be. */
  sort?: 'ascending' | 'descending' | 'none'
  onSort?: () => void
}

/**
 * A table that scrolls by itself where it is wider than the page, by keys too. On a narrow page each row is a card, in which the name of the
 * column stands before each cell.
 */
export function Table(props: {
  caption: string
  /** Shown above it; else it is for screen readers. */
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
