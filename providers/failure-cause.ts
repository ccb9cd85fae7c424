import type { FailureCause } from './provider.ts'
import type { ProviderError } from './provider-error.ts'

/** Statuses besides 5xx that are worth a retry. Some are specific to a vendor. */
const PASSING_STATUSES = new Set([408, 409, 423, 424, 425, 444, 460, 499])
/** Anthropic: overloaded. */
const BUSY_STATUSES = new Set([529])
/** Groq: the flex tier has no capacity. */
const NO_CAPACITY_STATUS = 498

/** Codes and types in lower case, without `_`, `-`, `.` and blanks: vendors spell them in many ways. */
const NAMED: [cause: FailureCause, names: RegExp][] = [
  [
    'quota',
    /^(?:insufficient(?:quota|balance|funds|credits?|userquota)|exceededcurrentquota(?:error)?|billing.*|accessterminated|credit(?:balance(?:exhausted|toolow)|limit(?:exceeded|reached)?)|.*spendlimit(?:exceeded|reached)|budgetexceeded|blockedapiaccess|organizationusagelimitexceeded|arrearage|account(?:overdue|inarrears).*|outofcredits?|paymentrequired|.*freetieronly|tokenquotareached|1113|1008)$/,
  ],
  // Groq and OpenAI send these when the flex tier has no capacity.
  ['capacity', /^(?:capacityexceeded|resourceunavailable)$/],
  [
    'overloaded',
    /^(?:.*overloaded(?:error)?|.*capacityexceeded|nocapacity|serviceunavailable(?:exception)?|queueexceeded|modelnotready(?:exception)?|3505|modelcoldstarting)$/,
  ],
  // MiniMax counts requests (1002) and tokens (1039) a minute, connections (1041), and use in five hours (2056).
  [
    'rate',
    /^(?:ratelimit.*|ratelimited|toomany(?:requests|tokens)(?:error|exception)?|slowdown|requests|tokens|throttl(?:ing|ed).*|resourceexhausted|limit(?:requests|tokens|burstrate)|.*ratelimit(?:error|exceeded|reached)|concurrencylimitexceeded|(?:request|token)?quotaexceeded|requestlimitexceeded|servicequotaexceeded(?:exception)?|userratelimitexceeded|1302|1303|1305|1002|1039|1041|2056)$/,
  ],
  [
    'too_long',
    /^(?:contextlengthexceeded|stringabovemaxlength|requesttoolarge|exceedcontextsizeerror|tokenslimitreached|maxtokensperrequest|1261)$/,
  ],
  [
    'filter',
    /^(?:content(?:filter|policyviolation|filtered|blocked)|responsibleaipolicyviolation|datainspectionfailed|.*sensitive.*|promptblocked|moderation.*|1301|1026|1027)$/,
  ],
  [
    'auth',
    /^(?:authentication.*|invalidapikey|incorrectapikey|apikey(?:invalid|expired)|unauthor.*|unauthenticated|permission(?:error|denied)|accessdenied(?:exception)?|forbidden|unsupportedcountryregionterritory|(?:organization|account)(?:restricted|deactivated|disabled)|1004)$/,
  ],
  [
    'not_found',
    /^(?:modelnotfound|notfounderror|notfound|unknownmodel|deploymentnotfound|invalidmodel|model(?:decommissioned|notopen)|resourcenotfound(?:exception)?)$/,
  ],
  [
    'invalid_request',
    /^(?:invalidrequesterror|invalidprompt|invalidparameter.*|invalidargument|badrequest|validationexception|2013)$/,
  ],
]

/** Wording about money, for errors without a code. */
const MONEY =
  /credit balance is too low|credit limit exceeded|\bkey limit exceeded|insufficient (?:account )?(?:balance|quota|funds|credits?)|exceeded your current quota|(?:not enough|no|out of|run out of|purchase more|insufficient|not have any|n['’]t have any) credits?\b(?! (?:was|were|are|will be|have been) (?:charged|deducted|used))|billing (?:hard )?limit|payment required|out of call volume quota|account.{0,40}(?:overdue|in arrears|suspended)|余额不足|欠费|free tier.{0,40}exhausted/i
/** Wording about money that is spent. It counts more than the code: Google sends the code of a rate, Anthropic that of an invalid request. */
const SPENT =
  /credits? (?:are|is|have been|has been) (?:depleted|exhausted|used up)|\b(?:reached|exceeded|hit)\b.{0,40}\bspend(?:ing)? (?:cap|limit)|spend(?:ing)? (?:cap|limit) (?:was |has been )?(?:reached|exceeded)|reached your specified .{0,20}usage limits|extra usage is required|budget has been exceeded/i
/** Wording of a limit that resets with time. Google's errors about a rate contain words about money too. */
const COMES_BACK = /(?:retry|try again) (?:in|after)|rate[- ]limits?\b|per (?:second|minute|hour|day)\b/i
/** Wording about a rate, for errors that have neither a status nor a known code. */
const RATE =
  /\brate[- ]?limit(?:s|ed|ing)?\b|\brate exceeded\b|too many requests|\b(?:tokens?|requests?) per (?:second|minute|hour|day)\b|too many tokens, please wait|\bthrottled\b/i
/** OpenAI's "429 Resource Unavailable", where the error has no code. */
const NO_CAPACITY = /\bresource[ _]unavailable\b/i
const BUSY =
  /overloaded|at capacity|capacity (?:temporarily )?(?:exceeded|constraints)|no (?:available )?capacity|(?:experiencing|due to) (?:high|heavy) (?:traffic|demand|load)|not ready for inference|queue is full|maximum pending requests/i
const TOO_LONG =
  /maximum (?:context|prompt) length|maximum model length|context (?:length|window|size|limit)|(?:prompt|input) is too long|too many (?:input )?tokens|^request too large\b|reduce (?:the|your) (?:length|prompt|input)|(?:input|prompt) token count.{0,40}exceeds|model token limit|prompt exceeds max length|range of input length|`inputs` (?:tokens \+|must have less than \d+ tokens)/i
/** llama.cpp sends this with status 500 too. */
const OVER_CONTEXT = /context size has been exceeded|exceeds the available context size/i
const FILTERED =
  /content (?:management )?policy|content filter|content exists risk|considered high risk|flagged|inappropriate content|moderation/i
const REFUSED_KEY =
  /(?:invalid|incorrect|expired|missing) api[- ]key|no auth credentials|unauthorized|(?:location|country|region) is not supported/i
/** Wording about an account or key that was flagged: another input would be refused too. */
const FLAGGED_ACCOUNT =
  /\b(?:account|organi[sz]ation|key|project|user) (?:has been|have been|was|is) (?:\w+ ){0,2}(?:flagged|suspended|blocked|restricted|disabled|banned)\b/i
/**
 * Wording about a model that the provider does not have, or not at this endpoint, for errors with another status than 404. The model's
 * name stands in quotes, right behind "the model", or behind "model" at the start of the message: other sentences name a model too, and
 * something else that was not found.
 */
const NO_MODEL =
  /\bno such model\b|\bmodel (?:is |was )?(?:does )?not (?:exist|found)\b|(?:\bmodel:? [`'"“][^`'"”]{1,200}[`'"”]|\b(?:the|this) (?:requested |specified )?model(?: (?:you )?(?:requested|specified)|:? \S{1,200})?|\bmodel:? (?=\S*[\d/-])\S{1,200}) (?:is |was |has been )?(?:does not exist|not found|decommissioned|no longer supported)|^model:? \S{1,200} (?:is |was |has been )?(?:does not exist|not found|decommissioned|no longer supported)|model identifier is invalid|\binvalid model(?: name| id)?(?: passed in|: \S{1,200}(?:$|\. )| ['`"])|模型不存在|is not a valid model|unknown model|does not work with the specified model/i
/** The same wording about a part of a model, or about something else with "model" in its name. */
const PART_OF_MODEL =
  /\bmodel:? (?:adapters?|artifacts?|backend|cache|checkpoints?|config\w*|directory|engine|files?|folder|handle|images?|inputs?|instances?|loader|messages?|outputs?|parameters?|path|process|prompts?|registry|requests?|responses?|runner|server|sessions?|settings?|shards?|snapshots?|state|streaming|templates?|tensors?|tokenizer|tools?|tuning|vocab\w*|weights?|workers?) (?:is |was |has been )?(?:does not exist|not found|decommissioned|no longer supported)|\b(?:unknown|valid) model (?:config\w*|input|option|output|parameter|property|setting)s?\b/i

/**
 * Finds the cause of a provider's error: from its codes first, then its status, then its wording.
 *
 * @param status the answer's status, or the one that the error names; null where there is none
 */
export function findCause(status: number | null, error: ProviderError): FailureCause {
  const message = error.message ?? ''
  if (status !== null && status >= 500) {
    if (causeOfNames(error, []) === 'too_long' || OVER_CONTEXT.test(message)) return 'too_long'
    return isBusy(status, error) ? 'overloaded' : 'server'
  }
  if (/^request too large\b/i.test(message)) return 'too_long'
  if (SPENT.test(message)) return 'quota'
  const named = causeOfNames(error, ['invalid_request'])
  const isAboutRate = named === 'rate' || COMES_BACK.test(message)
  if (status === 402 || named === 'quota') return 'quota'
  if (!isAboutRate && MONEY.test(message)) return 'quota'
  if (status === 429 || status === 420) {
    if (named === 'overloaded' || named === 'capacity' || named === 'too_long') return named
    if (named !== 'rate' && NO_CAPACITY.test(message)) return 'capacity'
    return named !== 'rate' && BUSY.test(message) ? 'overloaded' : 'rate'
  }
  if (status === NO_CAPACITY_STATUS) return 'capacity'
  if (named !== null) return named
  if (status === null) return causeOfStatusless(message) ?? causeOfNames(error, []) ?? 'server'
  if (status === 401) return 'auth'
  if (status === 404) return 'not_found'
  if (status === 413) return 'too_long'
  if (PASSING_STATUSES.has(status)) return 'server'
  return causeOfWords(message) ?? (status === 403 ? 'auth' : 'invalid_request')
}

function isBusy(status: number, error: ProviderError): boolean {
  const named = causeOfNames(error, [])
  return (
    BUSY_STATUSES.has(status) ||
    named === 'overloaded' ||
    named === 'capacity' ||
    BUSY.test(error.message ?? '')
  )
}

/** Looks for a rate first: errors about tokens per minute are worded much like errors about the context length. */
function causeOfStatusless(message: string): FailureCause | null {
  if (BUSY.test(message)) return 'overloaded'
  return RATE.test(message) ? 'rate' : causeOfWords(message)
}

function causeOfWords(message: string): FailureCause | null {
  if (TOO_LONG.test(message)) return 'too_long'
  if (FLAGGED_ACCOUNT.test(message)) return 'auth'
  if (FILTERED.test(message)) return 'filter'
  if (REFUSED_KEY.test(message)) return 'auth'
  if (NO_MODEL.test(message) && !PART_OF_MODEL.test(message)) return 'not_found'
  return BUSY.test(message) ? 'overloaded' : null
}

/** @param vague causes to skip, because the status or the wording is more precise */
function causeOfNames({ code, type }: ProviderError, vague: FailureCause[]): FailureCause | null {
  for (const name of [code, type]) {
    if (name === undefined) continue
    const bare = name.toLowerCase().replace(/[\s_.-]/g, '')
    const found = NAMED.find(([cause, names]) => !vague.includes(cause) && names.test(bare))
    if (found) return found[0]
  }
  return null
}
