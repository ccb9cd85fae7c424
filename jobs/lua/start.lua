-- Claims fetched jobs of one tenant, for a call each or for a shared call, and writes the calls' intents.
--
-- ARGV  1 intent: JSON members with leading comma (provider, model, coalesced, waited_for)  2 retain ms
--       3 most calls that may be lost with their worker before the job is quarantined
--       4 ms for which its place in the outbox holds a claimed job for this worker
--       5 the tenant's budget in USD a UTC day ('' no limit)
--       6 limits of its fair keys: most running jobs and calls a minute of each, - for no limit ('' none)
--       then for each job: id, entry number, token of the fetched entry, expected cost of its call ('' as reserved),
--       '1' if it was dispatched directly and is not claimed yet
-- Answer for each job, in their order:
--        {'run', call number, attempts, number of the previous call if it was lost just now, else 0,
--         the fields of the record that a call needs (flat)}
--        {'wait', ms}      not due before this time, its tenant is paused, or another job must first show that it crashes no worker
--        {'ack', promoted} needs no call: deleted, a stale entry, terminal, answered from the cache, following, parked for its
--                          fair key's turn, or failed here; `promoted` is the id of a job that leads now instead and needs a
--                          queue entry, or ''; failed here: then the error's code and the id of the request that created the job
-- Invariants: a call is sent only after its intent is in the record, so a call without an outcome is known. It is not
-- sent if the money spent, the expected cost of the calls under way and its own expected cost together exceed a budget
-- in which the job counts. A running job is in the outbox until it ends or waits again. While its time there is in the
-- future, a worker holds it, and any other entry for it is stale.

-- A directly dispatched job that no worker claimed within this time goes through the queue, ms. It is less than the
-- grace of the sweep (OUTBOX_GRACE_MS), so that no job is claimed here and queued there.
local DIRECT_MS = 1000

-- How long a job waits for another one that may crash workers before it asks again, ms.
local SUSPECT_MS = 1000

-- Longest wait for such a running job, ms. A job that crashes its worker usually does so at once. If the worker died
-- for another reason, the others would wait until that is found.
local SUSPECT_HOLDS_MS = 5000

-- Shortest and longest wait for the costs of the calls under way, ms.
local BUDGET_MS = 1000
local BUDGET_MOST_MS = 60000

-- Longest wait for the end of a tenant's pause at once, ms. The same as LONGEST_PAUSE_DELAY_MS of jobs/lane-queue.ts.
local PAUSE_MOST_MS = 1800000

-- Several jobs may have lost their calls together, and each may lose only one more. Any of them may be the cause, so
-- they run one at a time, and the next loss quarantines only one job. True: another such job is under way.
local function has_to_wait(job, most)
  if job.lost ~= most - 1 then return false end
  local other = redis.call('GET', root .. ':suspect')
  if other and other ~= job.id then
    local status, calls = unpack(redis.call('HMGET', job_key(other), 'status', 'calls'))
    if status == 'running' and redis.call('HEXISTS', job_key(other) .. ':attempts', calls .. ':end') == 0 then return true end
  end
  redis.call('SET', root .. ':suspect', job.id, 'PX', SUSPECT_HOLDS_MS)
  return false
end

local members, retain, most_lost, lease, budget_usd = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local fair_limits = ARGV[6]
local outbox = root .. ':outbox'
-- The fields of a record that a call needs besides those that transitions read.
local NEEDED = { 'type', 'model', 'timeout_ms', 'body', 'cost', 'live', 'trace', 'request_id', 'unfit_lanes', 'started_at' }

local function failed(id, promoted, code)
  return { 'ack', promoted, code, redis.call('HGET', job_key(id), 'request_id') or '' }
end

-- Checks the budgets again, because calls may cost more than was reserved. Nil: the call may be sent, and `fields` of
-- the record say how much is held for it. Otherwise it returns the script's answer: a job that does not fit beside the
-- calls under way waits for them. A job that does not fit into the rest of a budget fails, with its followers.
local function hold_budget(job, expected, fields)
  if budget_usd == '' and not job.accounts then return nil end
  local id = job.id
  local estimate = expected ~= '' and price_estimate(expected, true) or job.reserved or estimate_of(job)
  if estimate <= 0 then return nil end
  local short, is_busy = nil, false
  local function look(about, budget, spent, running)
    if spent + math.min(estimate, job.reserved or estimate) > budget then
      short = short or describe_budget(about, budget)
    elseif running > 0 and spent + running + estimate > budget then
      is_busy = true
    end
  end
  if budget_usd ~= '' then
    local spent, _, running = read_money()
    look(DAY_BUDGET, to_nano(budget_usd), spent, running)
  end
  for account in string.gmatch(job.accounts or '', '%S+') do
    if account ~= 'day' then
      local spent, _, limit, running = read_account(account)
      if limit then look(account_of(account).about or '', limit, spent, running) end
    end
  end
  if short then
    local failure = '{"code":"budget_exhausted","message":"Calls cost more than was reserved for them, so ' .. short ..
      ', has no room for this job. No call was made for it.","provider_status":null,"retryable":true}'
    if flight_of(job.hash) == id then
      local followers = pop_followers(job.hash, true)
      if finish_followers(job.hash, followers, 'failed', retain, { 'error', failure }, ',"error":' .. failure) > 0 then
        redis.call('SADD', root .. ':draining', id)
      else
        end_flight(job.hash)
      end
    end
    finish(job, 'failed', retain, { 'error', failure }, ',"error":' .. failure)
    return failed(id, '', 'budget_exhausted')
  end
  if is_busy then
    -- If more jobs wait, each asks less often.
    local at = ms(now + math.min(BUDGET_MOST_MS, BUDGET_MS + 2 * redis.call('ZCARD', root .. ':status:queued')))
    redis.call('HSET', job_key(id), 'waiting_for', 'budget', 'next_attempt_at', at)
    return { 'wait', at }
  end
  if job.reserved_usd then release(job) end
  if estimate ~= job.reserved then
    add_to_sum(root .. ':money:reserved', estimate - (job.reserved or 0))
    add_to_accounts(job, 'reserved', estimate - (job.reserved or 0))
    fields[#fields + 1], fields[#fields + 2] = 'reserved_nano', ms(estimate)
    job.reserved = estimate
  end
  -- Lengths of answers are those of the lane that serves the job.
  if expected ~= '' and expected ~= job.estimate then fields[#fields + 1], fields[#fields + 2] = 'estimate', expected end
  add_to_sum(root .. ':money:running', estimate)
  add_to_accounts(job, 'running', estimate)
  fields[#fields + 1], fields[#fields + 2] = 'held_nano', ms(estimate)
  return nil
end

-- How much longer an operator holds the tenant's calls back, ms; below 1: not at all. It is read once for all jobs of
-- the script.
local pause_left = nil
local function read_pause()
  pause_left = pause_left or redis.call('PTTL', root .. ':paused')
  return pause_left
end

-- By id: the job as it was before the script, or false; nil: it was started already. All are loaded first, so that what is known of their
-- contents is looked up at once.
local loaded = {}
local loads_before = nil

local function load_all()
  local hashes = {}
  for i = 7, #ARGV, 5 do
    local job = load(ARGV[i], true, NEEDED, true)
    loaded[ARGV[i]] = job or false
    if job and job.cache_mode ~= 'off' then hashes[#hashes + 1] = job.hash end
  end
  loads_before = loads
  read_flights(hashes)
  are_unknown(hashes, {})
end

-- A step that changes another job loads it. After such a step no job is known any more as it is.
local function take_loaded(id)
  local job = loaded[id]
  loaded[id] = nil
  if job ~= nil and loads == loads_before then return job end
  return load(id, true, NEEDED, true)
end

local function start(id, entry, token, expected, is_direct)
  local job = take_loaded(id)
  if not job or job.entries ~= entry then return { 'ack', '' } end

  local place = id .. '-' .. job.entries

  if is_terminal(job.status) then
    -- The job was cancelled during its call, with followers, and then its worker died: another job must lead.
    if job.carrying then
      -- Its call still continues for its followers, in a worker that holds it. A worker that asks for its own claim of
      -- a started job has not made that call. A batch asks for its claims to store its results.
      local held_until = score_of(outbox, place)
      local is_asked_again = string.sub(token, 1, 7) == 'direct:' and redis.call('HGET', job_key(id), 'claim') == token
      if held_until and tonumber(held_until) > now and not is_asked_again then return { 'ack', '' } end
      take_out(outbox, place)
      redis.call('HDEL', job_key(id), 'carrying', 'claim')
      if job.deleted then redis.call('DEL', job_key(id)) end
      return { 'ack', promote(job.hash) or '' }
    end
    return { 'ack', '' }
  end
  if job.leader then return { 'ack', '' } end

  local function hold() put(outbox, ms(now + lease), place) end
  local is_ours = job.status == 'running' and redis.call('HGET', job_key(id), 'claim') == token

  if job.status == 'running' and not is_ours then
    -- Another worker has the job, or a sweep will find it. A repeated entry does not mean that the worker died.
    local until_ms = score_of(outbox, place)
    if until_ms and (tonumber(until_ms) > now or is_direct) then return { 'ack', '' } end
  elseif is_direct and not is_ours then
    -- This is a direct dispatch. Once the sweep may have seen the job, the job belongs to the queue.
    local since = score_of(outbox, place)
    if not since then return { 'ack', '' } end
    local oldest = math.min(tonumber(since), job.ready_at)
    if oldest < now - DIRECT_MS then
      -- A renewal may have moved its time ahead right after the sweep looked. With the old time, the sweep looks again.
      put(outbox, ms(oldest), place)
      return { 'ack', '' }
    end
  end

  if job.deadline > 0 and now >= job.deadline and job.status ~= 'running' then
    local promoted = leave_flight(job, job.status)
    local failure = '{"code":"deadline_exceeded","message":"The deadline passed while the job waited. No call was made for it.","provider_status":null,"retryable":false}'
    finish(job, 'failed', retain, { 'error', failure }, ',"error":' .. failure)
    return failed(id, promoted, 'deadline_exceeded')
  end
  -- A job that waited for the end of a pause has a permit now, so the pause is over, even if it was to last longer.
  if job.ready_at > now + 1 and job.status ~= 'running'
    and redis.call('HGET', job_key(id), 'waiting_for') ~= 'provider_pause' then return { 'wait', ms(job.ready_at) } end

  local lost_call = 0
  if job.status == 'running' then
    -- The job is claimed for this entry already, and the answer was lost.
    if is_ours then
      hold()
      -- The sweep took it for a call that no worker has read. Now the call is made.
      local attempts_key = job_key(id) .. ':attempts'
      if redis.call('HGET', attempts_key, job.calls .. ':end') == UNREAD_END then redis.call('HDEL', attempts_key, job.calls .. ':end') end
      local record = redis.call('HGETALL', job_key(id))
      local intent = cjson.decode(redis.call('HGET', attempts_key, job.calls))
      record[#record + 1], record[#record + 2] = 'waited_ms', ms(intent.waited_ms)
      return { 'run', job.calls, job.attempts, 0, record }
    end
    -- This is a repeated delivery: the worker of the last call is gone, and it is not known whether the provider did
    -- the work. Its cost is unknown too, so the reserved amount is booked. Calls that perhaps no worker has read have
    -- an end from due.lua. They cost nothing, and do not count toward the quarantine.
    local known = redis.call('HGET', job_key(id) .. ':attempts', job.calls .. ':end')
    if not known or not string.find(known, '"outcome"', 1, true) then
      local cost = job.reserved or 0
      redis.call('HSET', job_key(id) .. ':attempts', job.calls .. ':end', '{"outcome":"lost","ambiguous":true' ..
        (cost > 0 and (',"cost_usd":' .. to_usd(cost) .. ',"cost_is_estimate":true') or '') .. '}')
      add_cost(job, book(job, id, job.calls, cost, known), cost > 0)
      end_hold(job)
      job.lost = redis.call('HINCRBY', job_key(id), 'lost', 1)
      lost_call = job.calls
    elseif string.find(known, '"outcome":"lost"', 1, true) then
      -- due.lua has found it, and it is not known whether it was sent.
      lost_call = job.calls
    end
    if job.lost >= most_lost then
      local failure = '{"code":"worker_lost","message":"' .. job.lost ..
        ' workers were lost during calls of this job. It is quarantined until you retry it.","provider_status":null,"retryable":true}'
      local promoted = ''
      if flight_of(job.hash) == id then promoted = promote(job.hash) or '' end
      finish(job, 'failed', retain, { 'error', failure }, ',"error":' .. failure)
      return failed(id, promoted, 'worker_lost')
    end
  end
  if has_to_wait(job, most_lost) then return { 'wait', ms(now + SUSPECT_MS) } end

  if job.status ~= 'running' then
    local way, found = claim(id, job.hash, job.cache_mode, nil, patience_of(job), job.fair)
    if way == 'hit' then
      finish(job, 'completed', retain, free_fields(found, 'hit'), nil, found.text)
      -- The answer serves this job's followers as well. The flight of another job must not end here.
      if flight_of(job.hash) == id then
        if share_answer(job.hash, pop_followers(job.hash), found, retain) > 0 then
          redis.call('SADD', root .. ':draining', id)
        else
          end_flight(job.hash)
        end
      end
      return { 'ack', '' }
    end
    if way == 'follow' then
      redis.call('HSET', job_key(id), 'status', 'queued')
      index(job, 'queued')
      follow(job, found)
      return { 'ack', '' }
    end
  end

  if job.status ~= 'running' and read_pause() > 0 then
    local at = ms(now + math.min(read_pause(), PAUSE_MOST_MS))
    redis.call('HSET', job_key(id), 'waiting_for', 'tenant_pause', 'next_attempt_at', at)
    return { 'wait', at }
  end

  local is_limited = job.fair and not job.gather and job.status ~= 'running'
  if is_limited then
    fair.limit(fair.read(job.fair), fair_limits)
    if not fair.may_start(job) then
      if job.status == 'scheduled' then
        redis.call('HSET', job_key(id), 'status', 'queued')
        index(job, 'queued')
      end
      take_out(outbox, place)
      fair.park(job)
      return { 'ack', '' }
    end
  end

  local call, attempts = job.calls + 1, job.attempts + 1
  local fields = { 'status', 'running', 'calls', call, 'attempts', attempts, 'claim', token }
  if call == 1 then fields[9], fields[10] = 'started_at', ms(now) end
  local refusal = hold_budget(job, expected, fields)
  if refusal then return refusal end
  if is_limited then fair.start(job, fields) end
  redis.call('HSET', job_key(id), unpack(fields))
  hold()
  if job.next_attempt_at > 0 then redis.call('HDEL', job_key(id), 'next_attempt_at', 'waiting_for') end
  local waited = ms(math.max(0, now - job.ready_at))
  redis.call('HSET', job_key(id) .. ':attempts', call,
    '{"started_at":' .. ms(now) .. ',"waited_ms":' .. waited .. members .. '}')
  index(job, 'running')
  emit(job, 'job.started', ',"attempt":' .. call)
  local needed = job.more
  return { 'run', call, attempts, lost_call, { 'type', needed[1], 'model', needed[2], 'timeout_ms', needed[3], 'body', needed[4],
    'cost', needed[5], 'live', needed[6] or '', 'trace', needed[7] or '', 'request_id', needed[8] or '', 'unfit_lanes', needed[9] or '', 'started_at', needed[10] or ms(now),
    'max_attempts', ms(job.max_attempts), 'hash', job.hash, 'cache_mode', job.cache_mode, 'waited_ms', waited,
    'reserved_nano', job.reserved and ms(job.reserved) or '' } }
end

load_all()
local answers = {}
for i = 7, #ARGV, 5 do
  answers[#answers + 1] = start(ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2], ARGV[i + 3], ARGV[i + 4] == '1')
end
return answers
