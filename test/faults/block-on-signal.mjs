// Preloaded into a worker whose event loop is to stand still for a while, as by a computation that takes too long.
// Unlike SIGSTOP this leaves its other threads alone, and costs no CPU.
process.on('SIGUSR2', () => {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, Number(process.env.SLUICE_BLOCK_MS))
})
