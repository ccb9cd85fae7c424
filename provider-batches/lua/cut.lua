-- Makes a batch of waiting jobs, or adds jobs to one that is being made.
--
-- ARGV  1 token  2 id  3 class  4 most lines of this call  5 most lines  6 most bytes  7 most queued tokens of the lane
--       8… fields and values of the new batch
-- Answer 0 (the lease is lost), or {lines taken, '1' when nothing more fits or waits}
-- Invariants: a job either waits or is a line of one batch, never both. The tokens of the open batches together stay within the limit,
-- except for a single line that exceeds it alone.

local token, id, class = ARGV[1], ARGV[2], ARGV[3]
if not holds(token) then return 0 end
local key = batch_key(id)
local state = redis.call('HGET', key, 'state')
if state and state ~= 'gathered' then return { 0, '1' } end
local known = redis.call('HMGET', key, 'lines', 'bytes', 'tokens', 'leave_at')
local lines, bytes, tokens, leave_at = tonumber(known[1] or 0), tonumber(known[2] or 0), tonumber(known[3] or 0), tonumber(known[4] or 0)
local queued = queued_tokens()
local members = redis.call('ZRANGE', waiting_key(class), 0, tonumber(ARGV[4]) - 1)
local taken, set, is_full, turn = {}, {}, #members < tonumber(ARGV[4]), nil
for _, member in ipairs(members) do
  local line = read_waiting(member)
  if line then
    local fits = lines < tonumber(ARGV[5]) and bytes + line.bytes <= tonumber(ARGV[6])
      and (queued + line.tokens <= tonumber(ARGV[7]) or queued == 0)
    if lines > 0 and not fits or lines == 0 and queued > 0 and queued + line.tokens > tonumber(ARGV[7]) then
      is_full = true
      break
    end
    lines, bytes, tokens, queued = lines + 1, bytes + line.bytes, tokens + line.tokens, queued + line.tokens
    if line.leave_at > 0 and (leave_at == 0 or line.leave_at < leave_at) then leave_at = line.leave_at end
    set[#set + 1], set[#set + 2] = lines - 1, line.leave_at .. ' ' .. member
    turn = line.turn
  end
  taken[#taken + 1] = member
end
if #set > 0 then
  if not state then
    redis.call('HSET', key, 'id', id, 'state', 'gathered', 'created_at', ms(now), 'class', class, unpack(ARGV, 8))
    redis.call('ZADD', root .. ':open', ms(now), id)
  end
  redis.call('HSET', key, 'lines', lines, 'bytes', bytes, 'tokens', tokens, 'leave_at', leave_at)
  redis.call('HSET', key .. ':lines', unpack(set))
  redis.call('HSET', root .. ':turns', 'now', turn)
end
stop_waiting(class, taken)
-- The jobs that did not fit begin to wait anew if a batch was made; otherwise their time goes on.
if redis.call('EXISTS', waiting_key(class)) == 1 then
  redis.call(#set > 0 and 'HSET' or 'HSETNX', root .. ':since', class, ms(now))
end
return { #set / 2, is_full and '1' or '' }
