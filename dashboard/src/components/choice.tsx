/** A choice of one of several values, or of any. */
export function Choice(props: {
  label: string
  any: string
  value: string
  values: readonly string[]
  onChange: (value: string) => void
}) {
  const { label, any, value, values, onChange } = props
  const options = value === '' || values.includes(value) ? values : [value, ...values]
  return (
    <label>
      {label}
      <select value={value} onChange={(event) => onChange(event.currentTarget.value)}>
        <option value="">{any}</option>
        {options.map((one) => (
          <option key={one} value={one}>
            {one}
          </option>
        ))}
      </select>
    </label>
  )
}
