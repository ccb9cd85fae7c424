import { render } from 'preact'
import { AppProvider, createApp } from './state/app.ts'
import { Shell } from './views/shell.tsx'

const app = createApp(window)
app.feed.restart()
render(
  <AppProvider value={app}>
    <Shell />
  </AppProvider>,
  document.getElementById('page')!,
)
