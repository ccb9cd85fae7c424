import type { CallType } from '../lib/call-type.ts'
import type { ProviderFailure } from './provider.ts'

/** A request asks for something that its provider has no counterpart for. Nothing was sent. */
export class UnmappableError extends Error {
  /** The member of the body, as OpenAI's errors name it: `messages[0].content[1].type`. */
  readonly param: string

  constructor(param: string, reason: string) {
    super(`body.${param}: ${reason}`)
    this.param = param
  }
}

/** The failure of a call that was never sent, in the shape of a provider's refusal. */
export function refuseRequest({ message, param }: UnmappableError): ProviderFailure {
  return refuse('invalid_request', message, param)
}

/** The provider has no endpoint for calls of this type. */
export function refuseType(type: CallType, kind: string): ProviderFailure {
  return refuse('unsupported_type', `providers of kind ${kind} do not serve jobs of type ${type}`, null)
}

/** A file that the request names no longer exists. */
export function refuseFile({ message, param }: { message: string; param: string }): ProviderFailure {
  return { ...refuse('file_not_found', message, param), input: true }
}

function refuse(code: string, message: string, param: string | null): ProviderFailure {
  return {
    ok: false,
    class: 'final',
    code,
    message,
    status: null,
    ambiguous: false,
    input: code === 'invalid_request',
    feedback: {},
    providerError: { message, type: 'invalid_request_error', param, code },
  }
}
