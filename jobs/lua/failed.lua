-- Reads the fields that tell failed jobs apart. Errors stay in Redis, because an error may quote a provider at length.
--
-- KEYS[1] is the tenant's root. ARGV  ids
-- Answer for each: {group, lane, type, code, retryable, failed at, redrives, reply, copied}, '' for a missing one;
--        {} for a job that is no longer failed

local function read_error(text)
  local is_json, told = pcall(cjson.decode, text)
  if is_json and type(told) == 'table' then return told.code, told.retryable == true end
  -- The text has half of a surrogate pair, which is valid in JavaScript. In a string every quote has a backslash before
  -- it.
  return string.match(text, '^{"code":"([^"\\]*)"'), string.find(text, ',"retryable":true', 1, true) ~= nil
end

local answer = {}
for i, id in ipairs(ARGV) do
  local v = redis.call('HMGET', KEYS[1] .. ':job:' .. id,
    'status', 'group', 'lane', 'type', 'error', 'finished_at', 'redrives', 'reply', 'copied')
  if v[1] ~= 'failed' then
    answer[i] = {}
  else
    local code, is_retryable = read_error(v[5] or '{}')
    answer[i] = { v[2] or '', v[3] or '', v[4] or '', type(code) == 'string' and code or '', is_retryable and '1' or '',
      v[6] or '', v[7] or '', v[8] and '1' or '', v[9] and '1' or '' }
  end
end
return answer
