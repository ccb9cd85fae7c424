-- Deletes the next jobs and durable runs whose retention is over. Cached answers stay for their own time. With a
-- history, this is where copied jobs (history-mark.lua) leave Redis, when their hot time is over.
--
-- ARGV  1 most jobs and runs
-- Answer {how many there were, promoted id…}; as many as asked for means that there may be more
-- Invariants: a deleted job has ended, and its retention is over now, by Redis' clock: a requeued job stays. A durable
-- run (durable/lua/common.lua) stays until the retention of the last of its jobs is over, and its jobs stay as long as
-- the run. A job of a flow stays as long as the flow, which may ask for its result; with a history, as long as the flow
-- is open. A job that still has to be copied stays, and so does one whose webhook is not delivered.

-- A run with an open job is checked again after this, ms. So is a job whose run continues, at the latest.
local LOOK_AGAIN_MS = 3600000

-- A job that the history does not have yet is checked again after this, ms.
local HISTORY_WAIT_MS = 10000

-- About how many steps of a run one script checks.
local STEPS_AT_ONCE = 500

local function place_run(run, at)
  put(root .. ':expiry', at, 'durable:' .. run)
  redis.call('ZADD', root .. ':durables', at, run)
end

-- When the retention of the last of these steps' jobs ends. If that is now or earlier, all are over.
local function jobs_kept_until(fields, last)
  for i = 1, #fields, 2 do
    local id = string.sub(fields[i], 1, 2) == 's:' and string.match(fields[i + 1], '^job .* (%S+)$')
    -- Ended jobs have a place. Most jobs without one were deleted.
    local place = id and score_of(root .. ':expiry', id)
    if place then
      last = math.max(last, tonumber(place))
    elseif id and redis.call('EXISTS', job_key(id)) == 1 then
      return now + LOOK_AGAIN_MS
    end
  end
  return last
end

-- Several scripts check a run of many steps. The progress of the previous script is valid if no one has asked for the
-- run since: that would have moved its place.
local function retire_run(run)
  local key = durable_key(run)
  local cursor, last, at = string.match(redis.call('HGET', key, 'looked') or '', '^(%d+) (%d+) (%d+)$')
  if at ~= redis.call('ZSCORE', root .. ':durables', run) then cursor, last = '0', '0' end
  local page = redis.call('HSCAN', key, cursor, 'COUNT', STEPS_AT_ONCE)
  last = jobs_kept_until(page[2], tonumber(last))
  if last > now then
    place_run(run, ms(last))
  elseif page[1] ~= '0' then
    place_run(run, ms(now + 1))
    redis.call('HSET', key, 'looked', page[1] .. ' ' .. ms(last) .. ' ' .. ms(now + 1))
  else
    redis.call('UNLINK', key, key .. ':values', key .. ':making')
    take_out(root .. ':expiry', 'durable:' .. run)
    redis.call('ZREM', root .. ':durables', run)
    redis.call('ZREM', root .. ':durables:created', run)
  end
end

-- When the retention of the job's durable run ends, or nil.
local function run_of(job)
  local run = string.match(job.durable or '', '^%x+')
  return run and tonumber(redis.call('ZSCORE', root .. ':durables', run) or nil)
end

-- When the retention of the job's flow ends; nil: the flow is deleted, or there is none.
local function flow_end_of(job, copied)
  local id = string.match(job.flow or '', '^%S+')
  local v = id and redis.call('HMGET', flow_key(id), 'status', 'expires_at')
  if copied and v and v[2] then return nil end
  return v and v[1] and tonumber(v[2] or now + LOOK_AGAIN_MS)
end

-- Until when to wait for the history or for a webhook; nil: not at all.
local function history_wait_of(job)
  if not keeps_history then return nil end
  if score_of(root .. ':history', job.id) then return now + HISTORY_WAIT_MS end
  if not job.more[1] or not job.webhook then return nil end
  for _, delivery in ipairs(redis.call('LRANGE', job_key(job.id) .. ':deliveries', 0, -1)) do
    if redis.call('ZSCORE', root .. ':webhooks', delivery) then return now + HISTORY_WAIT_MS end
  end
end

local MORE = { 'copied' }
local due = redis.call('ZRANGEBYSCORE', root .. ':expiry', '-inf', ms(now), 'LIMIT', 0, ARGV[1])
local answer = { #due }
for _, id in ipairs(due) do
  local run = string.match(id, '^durable:(%x+)$')
  local job = not run and load(id, false, MORE)
  local copied = job and keeps_history and job.more[1]
  local kept = job and is_terminal(job.status) and (run_of(job) or flow_end_of(job, copied) or history_wait_of(job))
  if run then
    retire_run(run)
  elseif kept then
    -- If its run or flow is over too, that is deleted first, and the job at its next check.
    put(root .. ':expiry', ms(math.max(now + 1, math.min(kept, now + LOOK_AGAIN_MS))), id)
  elseif job and is_terminal(job.status) then
    local _, promoted = forget(job, copied)
    if promoted ~= '' then answer[#answer + 1] = promoted end
  else
    take_out(root .. ':expiry', id)
  end
end
return answer
