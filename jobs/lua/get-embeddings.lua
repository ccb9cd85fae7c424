-- Reads cached answers.
--
-- ARGV   content hashes
-- Answer for each: result or false, ms for which it is cached from now on
local answers = {}
for _, hash in ipairs(ARGV) do
  local v = redis.call('HMGET', answer_key(hash), 'until', 'text', 'large')
  local left = tonumber(v[1] or 0) - now
  if left > 0 then
    answers[#answers + 1], answers[#answers + 2] = v[2] or v[3], left
  else
    answers[#answers + 1] = redis.call('HGET', old_cache_key(hash), 'result')
    answers[#answers + 1] = redis.call('PTTL', old_cache_key(hash))
  end
end
return answers
