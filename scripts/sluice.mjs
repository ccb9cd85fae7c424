#!/usr/bin/env node
// The command `sluice`, after `npm link` in a clone. It is a link, because Node runs no TypeScript under
// node_modules.
process.argv.splice(2, 0, 'main.ts')
await import('./bootstrap.mjs')
