/** The package's entry point: everything that an application may use. */
export {
  type ClientOptions,
  createClient,
  type ListOptions,
  type RunOptions,
  type SluiceClient,
  type SubmitOptions,
  type WaitOptions,
} from './client.ts'
export type {
  Durable,
  DurableOptions,
  DurableSteps,
  Duration,
  SendSignalOptions,
  WaitForSignalOptions,
} from './durable.ts'
export { JobFailedError, SluiceError, type SluiceErrorCode } from './errors.ts'
export type { AllEvents, BudgetEvent, EventsOptions, EventTarget, FlowEvent, SluiceEvent } from './events.ts'
export { FlowFailedError, type Flows, type FlowUpdate } from './flows.ts'
export type { Fetch, RetryOptions } from './http.ts'
export type * from './openapi.ts'
export type { Schedules } from './schedules.ts'
export type { SluiceSocket } from './socket.ts'
export type { SubmitManyOptions } from './submit-many.ts'
export {
  type VerifyWebhookOptions,
  verifyWebhook,
  type WebhookHeaders,
  type WebhookMessage,
  WebhookVerificationError,
} from './verify-webhook.ts'
