// Preloaded into Sluice's own processes, so that they report their CPU time to the bench, the same on every platform.
import { serveParent } from './serve-parent.ts'

serveParent()
