// Preloaded by bootstrap.mjs into the process that it starts: when bootstrap.mjs is killed without a chance to
// pass the signal on, the channel to it closes, and this process ends as if it had got SIGTERM.
if (process.channel && process.env.SLUICE_PARENT_PID === String(process.ppid)) {
  process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'))
  // Listening must not keep a finished process alive.
  process.channel.unref()
}
delete process.env.SLUICE_PARENT_PID
