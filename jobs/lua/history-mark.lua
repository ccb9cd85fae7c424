-- Notes that the history has these ended jobs. From then on they stay in Redis for their hot time only (retire.lua).
--
-- ARGV  1 number of the block  2 how long a job with files stays (ms)
--       3 for each job a line: id, its end at the time of the copy (Unix ms), hot ms, its cost (billionths), its calls without a price
-- Answer how many were marked
-- A job with files has them while its record is here, so it stays until its retention is over.
-- Invariants: `copied` of a record is `<status> <billionths>` as the history has it, and `copied_unpriced` its calls
-- without a price, if it has any. A group's `copied:<status>` is the number of its jobs in Redis that the history has
-- with this status. `copied_nano` is their cost and `copied_unpriced` their calls without a price. These two include
-- jobs that left Redis for the history since the group's hash was made. So the counts of Redis and the history
-- together, less these, count each job once. group-copies.lua says which groups have no `copied_unpriced`. A job that
-- was queued again and has not ended keeps its old `copied`, as the history keeps its old row.

-- Types whose results are texts or vectors. They have no files, and no command looks for any.
local WITHOUT_FILES = { chat = true, response = true, message = true, embedding = true, completion = true, moderation = true, rerank = true }
local function has_files(type, files, hash, answer)
  if files then return true end
  if WITHOUT_FILES[type] or not answer then return false end
  local key = find_answer(hash, answer)
  return key and redis.call('HEXISTS', key, 'files') == 1
end

-- What was noted after the block began may have come after the copy, so it is copied again.
local function let_go(id)
  if tonumber(score_of(root .. ':history', id) or 0) <= tonumber(ARGV[1]) then take_out(root .. ':history', id) end
end

-- By group and field: what is added to it at the end.
local more_of = {}
local function add(group, field, by)
  if by == 0 then return end
  local fields = more_of[group] or {}
  more_of[group] = fields
  fields[field] = (fields[field] or 0) + by
end

local marked = 0
for id, finished_at, hot_ms, nano, unpriced in string.gmatch(ARGV[3], '(%S+) (%S+) (%S+) (%S+) (%S+)') do
  local hot = tonumber(hot_ms)
  local key = job_key(id)
  local v = redis.call('HMGET', key, 'status', 'finished_at', 'group', 'copied', 'deleted', 'type', 'files',
    'hash', 'answer', 'copied_unpriced')
  if not v[1] or v[5] or not is_terminal(v[1]) then
    -- The job was deleted, or queued again: its next end asks for another copy. Or it is a delivery.
    let_go(id)
  elseif v[2] == finished_at then
    let_go(id)
    if has_files(v[6], v[7], v[8], v[9]) then hot = math.max(hot, tonumber(ARGV[2])) end
    put(root .. ':expiry', ms(tonumber(finished_at) + hot), id)
    redis.call('HSET', key, 'copied', v[1] .. ' ' .. nano)
    local more_unpriced = tonumber(unpriced) - tonumber(v[10] or 0)
    if more_unpriced ~= 0 then redis.call('HSET', key, 'copied_unpriced', unpriced) end
    if v[3] then
      local old, old_nano = string.match(v[4] or '', '^(%l+) (%d+)$')
      if old then add(v[3], 'copied:' .. old, -1) end
      add(v[3], 'copied:' .. v[1], 1)
      add(v[3], 'copied_nano', tonumber(nano) - tonumber(old_nano or 0))
      add(v[3], 'copied_unpriced', more_unpriced)
    end
    marked = marked + 1
  end
end
for group, fields in pairs(more_of) do
  if not counts_unpriced_copies(group) then fields.copied_unpriced = nil end
  for field, by in pairs(fields) do
    if by ~= 0 then redis.call('HINCRBY', group_key(group), field, ms(by)) end
  end
end
local blocks = root .. ':history:blocks'
if tonumber(ARGV[1]) > tonumber(redis.call('HGET', blocks, 'done') or 0) then redis.call('HSET', blocks, 'done', ARGV[1]) end
return marked
