-- Reads ended jobs in the form in which the history keeps them.
--
-- ARGV  1 bytes of bodies and results, with large ones, after which no further job is read  2 '1': with bodies and results  3… ids
-- Answer for each of them, as many as fit and at least one: {record, attempts, deliveries (JSON), calls, calls without a price,
--        how many events, `copied` or '', body or false, where its result is or '', the result or false}
--        | false if it has not ended or is gone
-- `record` lacks body, result, and fields that only matter in Redis. The history keeps a job's result at `result:<id>`,
-- or at `answer:<hash>:<name>` if it is the answer to another job, because many jobs may have that answer. A large
-- answer is false here, and is read separately; see jobs/answer-store.ts.
-- Invariant: the script changes nothing.

local function to_fields(flat)
  local fields = {}
  for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
  return fields
end

-- The answer's text if it is small, and its bytes; nil: it is gone.
local function read_answer(hash, by)
  for _, key in ipairs({ answer_key(hash), answer_key(hash, by) }) do
    local v = redis.call('HMGET', key, 'by', 'text')
    if v[1] == by then return v[2], v[2] and #v[2] or redis.call('HSTRLEN', key, 'large') end
  end
  return false, nil
end

local function read_deliveries(id, record)
  local texts = {}
  if record.webhook then
    for _, delivery in ipairs(redis.call('LRANGE', job_key(id) .. ':deliveries', 0, -1)) do
      local fields = to_fields(redis.call('HGETALL', root .. ':delivery:' .. delivery))
      if fields.id then texts[#texts + 1] = cjson.encode(fields) end
    end
  end
  return '[' .. table.concat(texts, ',') .. ']'
end

local bytes = 0

local function read(id)
  local record = to_fields(redis.call('HGETALL', job_key(id)))
  local body, result, copied = record.body or false, record.result or false, record.copied or ''
  record.body, record.result, record.copied, record.copied_unpriced, record.carrying, record.claim = nil, nil, nil, nil, nil, nil
  if record.deleted or not record.finished_at then return false end
  local place, size = result and 'result:' .. id or '', #(result or '')
  if not result and record.answer then
    result, size = read_answer(record.hash, record.answer)
    -- The job was deleted just now.
    if not size then return false end
    local is_anothers = record.cache == 'hit' or record.cache == 'shared'
    place = is_anothers and 'answer:' .. record.hash .. ':' .. record.answer or 'result:' .. id
  end
  if ARGV[2] ~= '1' then body, result, place, size = false, false, '', 0 end
  bytes = bytes + #(body or '') + size
  local attempts, calls, unpriced = redis.call('HGETALL', job_key(id) .. ':attempts'), 0, 0
  for i = 1, #attempts, 2 do
    if string.sub(attempts[i], -4) ~= ':end' then calls = calls + 1 end
    if string.find(attempts[i + 1], '"is_unpriced":true', 1, true) then unpriced = unpriced + 1 end
  end
  return { cjson.encode(record), cjson.encode(to_fields(attempts)), read_deliveries(id, record), calls, unpriced,
    redis.call('LLEN', job_key(id) .. ':events'), copied, body, place, result }
end

local jobs = {}
for i = 3, #ARGV do
  jobs[#jobs + 1] = read(ARGV[i])
  if bytes >= tonumber(ARGV[1]) then break end
end
return jobs
