/** What went wrong, read out; nothing where nothing did. */
export function FailureText({ text }: { text: string | null }) {
  return text === null ? null : (
    <p class="failure" role="alert">
      {text}
    </p>
  )
}
