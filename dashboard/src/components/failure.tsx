/** An error message that screen readers announce; renders nothing for null. */
export function FailureText({ text }: { text: string | null }) {
  return text === null ? null : (
    <p class="failure" role="alert">
      {text}
    </p>
  )
}
