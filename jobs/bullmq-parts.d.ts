// Parts of BullMQ that it does not type; see `FETCH_LUA` in queue.ts.
declare module 'bullmq/dist/cjs/scripts/moveToActive-11.js' {
  export const moveToActive: { content: string; keys: number }
}
declare module 'bullmq/dist/cjs/version.js' {
  export const version: string
}
