-- Changes tenants and keys, and writes the line of the audit list in the same step.
-- KEYS[1] root of the registry, KEYS[2] see lib/script-keys.ts.
-- ARGV: version (of after the change, never used before), channel, audit line, lines that are kept, then for each field:
--   hash ('tenants' or 'keys'), field, expected value ('' = there is none), new value ('' = none).
-- Answers 'conflict' where a field is not as expected, else 'done'.
-- Invariants:
--   All fields change, or none.
--   A change that is sent twice is made once, and has one line: then every field has its new value already.
--   A change and its line are written together.
local root = KEYS[1]
local version, channel, line, most = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local isMade = true
local isExpected = true
for at = 5, #ARGV, 4 do
  local value = redis.call('HGET', root .. ':' .. ARGV[at], ARGV[at + 1]) or ''
  if value ~= ARGV[at + 2] then isExpected = false end
  if value ~= ARGV[at + 3] then isMade = false end
end
if isMade then return 'done' end
if not isExpected then return 'conflict' end
for at = 5, #ARGV, 4 do
  local hash = root .. ':' .. ARGV[at]
  if ARGV[at + 3] == '' then redis.call('HDEL', hash, ARGV[at + 1])
  else redis.call('HSET', hash, ARGV[at + 1], ARGV[at + 3]) end
end
redis.call('XADD', root .. ':audit', 'MAXLEN', most, '*', 'line', line)
redis.call('SET', root .. ':version', version)
redis.call('PUBLISH', channel, version)
return 'done'
