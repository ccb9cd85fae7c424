const acceptable = /^[\w.-]{1,128}$/

/** The client's `x-request-id` if it is short and safe to log and echo; otherwise a new one. */
export function chooseRequestId(given: string | string[] | undefined, createId: () => string): string {
  return typeof given === 'string' && acceptable.test(given) ? given : createId()
}
