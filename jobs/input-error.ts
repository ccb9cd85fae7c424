/** A job that cannot be made because of a file that its body names. Asking again cannot help. */
export class InputError extends Error {
  override readonly name = 'InputError'
  /** The place in the body, as `body.file`. */
  readonly param: string

  constructor(member: string, id: string) {
    const param = `body.${member}`
    super(`${param}: you have no file ${id}`)
    this.param = param
  }
}
