import { computed, effect, type ReadonlySignal, type Signal, signal } from '@preact/signals'
import { createContext } from 'preact'
import { useContext } from 'preact/hooks'
import { type Api, createApi } from '../api.ts'
import { findConcerns } from './attention.ts'
import { createFeed, type Feed } from './feed.ts'
import { parseRoute, type Route } from './route.ts'
import { type Channel, createSharedKey } from './shared-key.ts'
import { createStored } from './stored.ts'

export type Theme = 'auto' | 'light' | 'dark'
export type Notice = { id: number; tone: 'good' | 'bad'; text: string }

/** State and functions that all views share. */
export type App = {
  api: Api
  feed: Feed
  route: ReadonlySignal<Route>
  /** The server's time, Unix ms; updated once a second. */
  now: ReadonlySignal<number>
  key: ReadonlySignal<string | null>
  /** Whether the key may change things: `jobs` allows changes to its tenant's jobs, `admin` to everything. False until the key's scopes are known. */
  may(scope: 'jobs' | 'admin'): boolean
  /** True when the API needs a key, or refused the one it got. */
  asksForKey: ReadonlySignal<boolean>
  enterKey(key: string | null): void
  theme: Signal<Theme>
  /** Changes whenever the colours do. */
  palette: ReadonlySignal<string>
  notices: ReadonlySignal<Notice[]>
  /** Reports the outcome of a user's action. */
  notify(tone: Notice['tone'], text: string): void
  dismiss(id: number): void
  /** Screen readers announce this text when it changes. */
  announcement: ReadonlySignal<string>
}

/** Notices of success disappear after this time, ms. */
const NOTICE_MS = 8_000
/** The shortest time between two announcements of concerns, ms: one that comes and goes must not be announced again and again. */
const ANNOUNCE_MS = 10_000
/** A hidden page closes its connection after this time, ms: browsers allow few connections to one host. */
const HIDDEN_MS = 60_000

const AppContext = createContext<App | null>(null)
export const AppProvider = AppContext.Provider

/** Returns the shared state of the page. Throws outside `AppProvider`. */
export function useApp(): App {
  const app = useContext(AppContext)
  if (app === null) throw new Error('there is no app around this')
  return app
}

/** Builds the state of the page and keeps it in step with the browser. */
export function createApp(window: Window & typeof globalThis): App {
  const { document, location } = window
  const storedTheme = createStored(() => window.localStorage, 'sluice-theme')
  const asksForKey = signal(false)
  const notices = signal<Notice[]>([])
  const announcement = signal('')
  const route = signal(parseRoute(location.hash))
  const clock = signal(Date.now())
  let noticeCount = 0
  const base = location.pathname.replace(/\/dashboard(\/.*)?$/, '')
  const begin = () => {
    asksForKey.value = false
    feed.stop()
    feed.forget()
    feed.restart()
  }
  const sharedKey = createSharedKey({
    stored: createStored(() => window.sessionStorage, 'sluice-key'),
    channel: openChannel(window, `sluice-key ${base}`),
    onChange: () => begin(),
  })
  const { key } = sharedKey

  const api = createApi({
    fetch: (input, init) => window.fetch(input, init),
    base,
    key: () => key.peek(),
    actsAs: () => feed.caller.peek()?.reads_all === true,
    onRefused: () => {
      asksForKey.value = true
    },
  })
  const feed = createFeed({ api, now: Date.now, random: Math.random })
  const theme = signal<Theme>(toTheme(storedTheme.peek()))
  const prefersDark = window.matchMedia('(prefers-color-scheme: dark)')
  const isDark = signal(prefersDark.matches)
  prefersDark.addEventListener('change', () => {
    isDark.value = prefersDark.matches
  })
  effect(() => {
    const { value } = theme
    storedTheme.value = value === 'auto' ? null : value
    document.documentElement.dataset.theme = value
  })

  window.addEventListener('hashchange', () => {
    route.value = parseRoute(location.hash)
  })
  window.setInterval(() => {
    clock.value = Date.now()
  }, 1_000)
  window.addEventListener('online', () => feed.hurry())
  restWhileHidden(window, feed)
  announceChanges(feed, announcement)

  return {
    api,
    feed,
    route,
    now: computed(() => clock.value + feed.clockAhead.value),
    key,
    asksForKey,
    theme,
    palette: computed(() => `${theme.value} ${isDark.value}`),
    notices,
    announcement,
    may(scope) {
      const scopes = feed.caller.value?.scopes ?? []
      return scopes.includes('admin') || scopes.includes(scope)
    },
    enterKey(next) {
      sharedKey.enter(next)
      begin()
    },
    notify(tone, text) {
      const id = ++noticeCount
      notices.value = [...notices.value, { id, tone, text }]
      if (tone === 'good') window.setTimeout(() => this.dismiss(id), NOTICE_MS)
    },
    dismiss(id) {
      notices.value = notices.value.filter((notice) => notice.id !== id)
    },
  }
}

function openChannel(window: Window & typeof globalThis, name: string): Channel | null {
  if (!('BroadcastChannel' in window)) return null
  const channel = new window.BroadcastChannel(name)
  return {
    post: (message) => channel.postMessage(message),
    listen: (hear) => {
      channel.onmessage = ({ data }) => hear(data)
    },
  }
}

function toTheme(text: string | null): Theme {
  return text === 'light' || text === 'dark' ? text : 'auto'
}

function restWhileHidden({ document }: Window, feed: Feed): void {
  let timer: ReturnType<typeof setTimeout> | undefined
  let isResting = false
  document.addEventListener('visibilitychange', () => {
    clearTimeout(timer)
    if (document.hidden) {
      timer = setTimeout(() => {
        isResting = true
        feed.stop()
      }, HIDDEN_MS)
    } else if (isResting) {
      isResting = false
      feed.restart()
    } else feed.hurry()
  })
}

/** Announces concerns that begin or end, and a lost connection. A change of a concern's numbers is not announced. */
function announceChanges(feed: Feed, announcement: Signal<string>): void {
  let known: Map<string, string> | null = null
  let saidAt = Number.NEGATIVE_INFINITY
  effect(() => {
    const overview = feed.overview.value
    if (overview === null || Date.now() - saidAt < ANNOUNCE_MS) return
    const concerns = new Map(
      findConcerns(overview).map(({ id, subject, text }) => [id, `${subject}: ${text}`]),
    )
    const before = known
    known = concerns
    if (before === null) return
    const begun = [...concerns].filter(([id]) => !before.has(id)).map(([, text]) => text)
    const over = [...before].filter(([id]) => !concerns.has(id)).map(([, text]) => `no longer: ${text}`)
    if (begun.length + over.length === 0) return
    saidAt = Date.now()
    announcement.value = [...begun, ...over].join('. ')
  })
  let wasLost = false
  effect(() => {
    const { kind } = feed.connection.value
    if (kind === 'lost' && !wasLost) announcement.value = 'The connection to the server is lost.'
    if (kind === 'live' && wasLost) announcement.value = 'The connection to the server is back.'
    if (kind === 'lost' || kind === 'live') wasLost = kind === 'lost'
  })
}
