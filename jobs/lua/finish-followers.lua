-- Ends more followers of a leader whose outcome is stored, after finish.lua left some.
--
-- ARGV  1 id of the leader  2 retain ms
-- Answer how many followers are left

local id = ARGV[1]
local v = redis.call('HMGET', job_key(id), 'hash', 'status', 'answer', 'usage', 'error')
local hash = v[1]

-- If an earlier release ended the leader, its answer is in its record. It moves to the place where followers find it.
local function share_old_result()
  local by = answer_name(id, 0)
  put_answer(hash, by, redis.call('HGET', job_key(id), 'result'), v[4] or '', 0, 1)
  redis.call('HSET', job_key(id), 'answer', by)
  redis.call('HDEL', job_key(id), 'result')
  return by
end

local left = 0
if hash and flight_of(hash) == id then
  if v[2] == 'completed' then
    local answer = { by = v[3] or share_old_result(), usage = v[4] }
    local followers = pop_followers(hash)
    -- Clients that wait for these followers get the answer.
    for _, follower in ipairs(followers) do
      if follower.reply and answer.text == nil then
        answer.text = redis.call('HGET', find_answer(hash, answer.by), 'text')
      end
    end
    left = share_answer(hash, followers, answer, tonumber(ARGV[2]))
  elseif v[2] == 'failed' then
    left = finish_followers(hash, pop_followers(hash, true), 'failed', tonumber(ARGV[2]), { 'error', v[5] }, ',"error":' .. v[5])
  else
    -- The leader was cancelled or deleted between two calls of this script. One of its followers leads now.
    promote(hash)
  end
  if left == 0 and (v[2] == 'completed' or v[2] == 'failed') then end_flight(hash) end
end
if left == 0 then redis.call('SREM', root .. ':draining', id) end
return left
