// Preloaded into a worker whose event loop has to stand still for a while, as in a computation that takes too long.
// Unlike SIGSTOP this leaves its other threads alone, and it costs no CPU.
process.on('SIGUSR2', () => {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, Number(process.env.SLUICE_BLOCK_MS))
})
