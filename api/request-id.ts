const acceptable = /^[\w.-]{1,128}$/

/** The client's `x-request-id` where it is short and harmless to log and to echo, else a fresh one. */
export function chooseRequestId(given: string | string[] | undefined, createId: () => string): string {
  return typeof given === 'string' && acceptable.test(given) ? given : createId()
}
