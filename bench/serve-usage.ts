// Preloaded into Sluice's own processes, so that they tell the bench their CPU time, on every platform alike.
import { serveParent } from './serve-parent.ts'

serveParent()
