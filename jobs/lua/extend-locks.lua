-- Extends the locks of queue entries, where BullMQ keeps them. BullMQ's own script writes each lock anew, which Redis
-- refuses when its memory is full; this one only moves their ends, so who waits for room with a paid result keeps its job.
--
-- KEYS  1 `<prefix>:{l:<lane>}:calls:stalled`, the entries that no worker has given a sign of since the last check
--       2 `<prefix>:{l:<lane>}:calls:`, which is never there (see lib/script-keys.ts)
-- ARGV  1 duration in ms; then pairs of entry and token
-- Answer the entries that are locked no more, or by another

local lost = {}
for i = 2, #ARGV, 2 do
  local lock = KEYS[2] .. ARGV[i] .. ':lock'
  if redis.call('GET', lock) == ARGV[i + 1] then
    redis.call('PEXPIRE', lock, ARGV[1])
    redis.call('SREM', KEYS[1], ARGV[i])
  else
    lost[#lost + 1] = ARGV[i]
  end
end
return lost
