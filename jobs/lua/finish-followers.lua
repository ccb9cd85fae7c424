-- Goes on ending the followers of a leader whose outcome is stored, where finish.lua left some.
--
-- ARGV  1 id of the leader  2 retain ms
-- Answer followers left

local id = ARGV[1]
local v = redis.call('HMGET', job_key(id), 'hash', 'status', 'result', 'usage', 'error')
local hash = v[1]
local left = 0
if hash and redis.call('GET', flight_key(hash)) == id then
  if v[2] == 'completed' then
    left = drain(hash, 'completed', tonumber(ARGV[2]),
      { 'result', v[3], 'usage', v[4] or '', 'cost_usd', '0', 'cache', 'shared' })
  elseif v[2] == 'failed' then
    left = drain(hash, 'failed', tonumber(ARGV[2]), { 'error', v[5] }, ',"error":' .. v[5])
  else
    -- The leader was cancelled or forgotten between two calls: its followers go on by themselves.
    promote(hash)
  end
  if left == 0 and (v[2] == 'completed' or v[2] == 'failed') then redis.call('DEL', flight_key(hash)) end
end
if left == 0 then redis.call('SREM', root .. ':draining', id) end
return left
