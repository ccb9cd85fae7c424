import type { Files } from '../files/files.ts'
import type { HeldFiles } from '../files/held-files.ts'
import type { Claimed } from '../jobs/claim.ts'
import type { Work } from '../jobs/work.ts'
import type { JsonObject, JsonValue } from '../lib/json.ts'
import { countAnswerBytes } from '../providers/count-tokens.ts'
import { makesImages } from '../providers/endpoints.ts'
import type { ProviderRequest } from '../providers/provider.ts'
import { isPartOfAnswer } from '../providers/response-events.ts'
import { createDeltaWriter } from './delta-writer.ts'
import { createPictureDeltas } from './picture-deltas.ts'
import { createSoundPieces } from './sound-pieces.ts'

/** What clients see of a call while it runs: the chunks of its stream, with pictures as files, and its sound. */
export type LiveView = {
  /** The members of the provider request that report the stream; none if the answer is shown in one piece. */
  hooks: Pick<ProviderRequest, 'onDelta' | 'onAudio' | 'drained'>
  /** Aborts when no one needs the call any more; null: nothing is shown, so that cannot be found out. */
  useless: AbortSignal | null
  /** What has arrived so far. */
  seen: {
    /** A client has been shown a part of the answer. */
    isShown: boolean
    /** When the first part arrived, ms by the given clock; null: none has. */
    firstAt: number | null
    /** Of text and tool calls. */
    bytes: number
  }
  /** Resolves when everything is passed on, with the ids of the files of partial pictures. */
  flush(): Promise<string[]>
  /** Call it when the result is stored, or when there is none. */
  end(): Promise<void>
}

/**
 * @param deps.claimed the only job of the call; null: the call has several jobs, and nothing is shown
 * @param deps.body the request that is sent
 * @param deps.onFirst called with each part; the first call counts
 * @param deps.now ms of a monotonic clock
 */
export function createLiveView(deps: {
  claimed: Claimed | null
  body: JsonObject
  files: Pick<Files, 'newId' | 'writePart' | 'discard'>
  putFiles: HeldFiles['put']
  write: Work['stream']
  onFirst: () => void
  onError: (error: unknown, what: string) => void
  now: () => number
}): LiveView {
  const { claimed, body, onError } = deps
  const seen: LiveView['seen'] = { isShown: false, firstAt: null, bytes: 0 }
  const streams = body.stream === true
  const speaks = claimed?.type === 'speech' && claimed.isShownLive
  if (claimed === null || (!streams && !speaks)) {
    return { hooks: {}, useless: null, seen, flush: async () => [], end: async () => {} }
  }

  const useless = new AbortController()
  const deltas = createDeltaWriter({
    write: (chunks) => deps.write(claimed, chunks),
    onUseless: () => useless.abort('cancelled'),
    onError: (error) => onError(error, 'writing chunks of a stream'),
  })
  const { tenant, type } = claimed
  const shared = { tenant, push: deltas.push }
  const pictures = makesImages(type)
    ? createPictureDeltas({
        ...{ ...shared, newId: deps.files.newId, put: deps.putFiles },
        onError: (error) => onError(error, 'storing a partial picture'),
      })
    : null
  const sound = speaks
    ? createSoundPieces({
        ...{ ...shared, files: deps.files },
        onError: (error) => onError(error, 'writing pieces of a sound'),
      })
    : null

  function begin(): void {
    seen.firstAt ??= deps.now()
    deps.onFirst()
  }

  function onDelta(chunk: JsonValue): void {
    begin()
    seen.isShown ||= claimed!.isShownLive && isPartOfAnswer(chunk)
    seen.bytes += countAnswerBytes(chunk)
    if (pictures === null) deltas.push(chunk)
    else pictures.push(chunk)
  }

  return {
    hooks: {
      ...(streams ? { onDelta } : {}),
      ...(sound === null
        ? {}
        : {
            onAudio: (piece) => {
              begin()
              seen.isShown = true
              sound.push(piece)
            },
          }),
      drained: () => sound?.drained() ?? deltas.drained(),
    },
    useless: useless.signal,
    seen,
    async flush() {
      const files = (await pictures?.flush()) ?? []
      await sound?.flush()
      await deltas.flush()
      return files
    },
    end: async () => sound?.discard(),
  }
}
