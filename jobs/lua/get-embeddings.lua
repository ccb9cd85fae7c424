-- Reads kept answers.
--
-- ARGV   content hashes
-- Answer for each: result or false, ms that it is kept for still
local answers = {}
for _, hash in ipairs(ARGV) do
  answers[#answers + 1] = redis.call('HGET', cache_key(hash), 'result')
  answers[#answers + 1] = redis.call('PTTL', cache_key(hash))
end
return answers
