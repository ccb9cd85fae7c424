import type { ComponentChildren } from 'preact'

/** A table that scrolls by itself where it is wider than the page, by keys too. */
export function Table(props: {
  caption: string
  /** Shown above it; else it is for screen readers. */
  isCaptionShown?: boolean
  head: { name: string; isNumber?: boolean; isHidden?: boolean }[]
  children: ComponentChildren
}) {
  const { caption, isCaptionShown = false, head, children } = props
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reachable by keys
    // biome-ignore lint/a11y/useSemanticElements: a region of a page, not a section of its outline
    <div class="table" role="region" aria-label={caption} tabIndex={0}>
      <table>
        <caption class={isCaptionShown ? undefined : 'unseen'}>{caption}</caption>
        <thead>
          <tr>
            {head.map(({ name, isNumber, isHidden }) => (
              <th key={name} scope="col" class={isNumber ? 'right' : undefined}>
                <span class={isHidden ? 'unseen' : undefined}>{name}</span>
              </th>
            ))}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  )
}
