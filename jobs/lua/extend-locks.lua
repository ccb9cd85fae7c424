-- Extends BullMQ's locks of queue entries. BullMQ's own script rewrites each lock, which Redis refuses when its memory
-- is full. This script only moves the ends of the locks. So a worker that waits for memory with a paid result keeps its
-- job.
--
-- KEYS  1 `<prefix>:{l:<lane>}:calls:stalled`, the entries that no worker has renewed since the last check
--       2 `<prefix>:{l:<lane>}:calls:`, which never exists (see lib/script-keys.ts)
-- ARGV  1 duration in ms; then pairs of entry and token
-- Answer the entries whose lock has ended or belongs to another worker

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
