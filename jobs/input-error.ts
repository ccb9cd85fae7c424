/** A job cannot be made because of a file that its body names. Sending the request again does not help. */
export class InputError extends Error {
  override readonly name = 'InputError'
  /** The place in the body, such as `body.file`. */
  readonly param: string

  constructor(member: string, id: string) {
    const param = `body.${member}`
    super(`${param}: you have no file ${id}`)
    this.param = param
  }
}
