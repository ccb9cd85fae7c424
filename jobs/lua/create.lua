-- Accepts jobs of one tenant: idempotency, admission, cache, single flight and the record of each, in one step.
--
-- In the script `create`, create-only.lua comes before this file. In `create-and-start`, the gate and start-here.lua
-- do; start-here.lua says what comes first in KEYS and ARGV there.
--
-- ARGV  from `first` on, for each job: how many arguments follow for it, and these (`encodeCreate` of create-script.ts):
--       1 id  2 content hash  3 cache mode  4 idempotency key ('' none)  5 payload fingerprint
--         (after spaces: older forms under which it may be stored)
--       6 idempotency ttl ms  7 most open jobs of the tenant; if the tenant limits its fair keys, after spaces:
--         digest of the job's key, most open jobs of the key, most running ones, calls a minute (- no limit)
--       8 retain ms  9 run at ms, or `+` and ms from now ('' at once)
--       10 group ('' none)  11 deadline ms ('' none)  12 submissions a minute ('' no limit)
--       13 '' no budget; else, with a space between each: USD a UTC day (- no limit), the address for webhooks about budgets
--          (- none), and for each budget of a window: its owner, billionths, start and end of the window, end of the next one
--          (Unix ms; Redis' clock chooses between the two), its owner as JSON without a space (`about` of common.lua)
--       14 what the job is expected to cost (see read_estimate in common.lua)
--       15 the earliest time at which a call for it would start, Unix ms ('' not known)
--       16 channel of a worker that takes the job at once ('' none)  17 the message for that worker
--       18 '1': brief, the answer has the status of a job but not its record
--       19 version of the group's budgets in 13 ('' none)
--       20 how the script itself starts the job for the worker of 16, if it has the gate: in lines, the token of the claim,
--          ms for which the job's place in the outbox holds it, what its call takes (requests, tokens, input tokens, output
--          tokens), the call's tenant, source and tier, and the intent as JSON members with leading comma
--          ('' the worker starts it)
--       21… record fields and values
-- Answer for each job, in their order: {'created' | 'parked' | 'shared' | 'hit' | 'replayed' | 'conflict' | 'queue_full' |
--         'fair_key_full' | 'rate_limited' | 'budget_exhausted' | 'deadline_unreachable' | 'flow_over' |
--         'flow_budget_exhausted' | 'unpriced' | 'group_budgets' | 'failed', …}:
--       created: now, how many workers heard of it, '1' if it was started for one ('' not)   parked, shared: now
--       replayed: id, record (flat; empty: the history has it)
--       hit: now, name of the answer, usage, its bytes ('' if it is large)
--       in brief: hit: now   replayed: id, {'status', status}
--       rate_limited: ms until it may pass   budget_exhausted, flow_budget_exhausted: the same ('' never), the owner as JSON,
--         and billionths: the budget, what was spent of it, what is reserved, what the job may cost; end of the window, Unix ms
--       unpriced: a budget applies, and the cost of the job is not known
--       group_budgets: what the key of the group's budgets holds ('' nothing), to be sent with another call
--       failed: what Redis said; the other jobs continue
-- Invariants: after 'created' the job is in the outbox until it is in its lane's queue (a scheduled one until it is
-- due), or until a directly dispatched call has ended it. After 'parked' it waits for its fair key's turn (see
-- common.lua). After 'shared' it is among the followers of an equal job.
-- A job that is started here is in the state in which start.lua would have left it, with the permit of its call: its
-- intent is written before its worker hears of it, and its place in the outbox holds it for that worker. Only start.lua
-- checks the tenant's budgets and the limits of its fair keys, so jobs that have them are not started here.

-- A cached answer completes its job at once: the record is written once, as a completed one.
local ONLY_TO_RUN_SET = {}
for _, name in ipairs(ONLY_TO_RUN) do ONLY_TO_RUN_SET[name] = true end

-- By group: what the key of its budgets holds, and whether its time to live was renewed already.
local group_budgets, prolonged = {}, {}
-- The same as in jobs/group-budgets.ts.
local GROUP_BUDGET_MS = 400 * DAY_MS
local function read_group_budgets(group)
  if group_budgets[group] == nil then group_budgets[group] = redis.call('GET', root .. ':group-budget:' .. group) end
  return group_budgets[group]
end

-- See set-group-budget.lua.
local function prolong_group_budgets(group)
  if prolonged[group] then return end
  prolonged[group] = true
  redis.call('PEXPIRE', root .. ':group-budget:' .. group, GROUP_BUDGET_MS)
  redis.call('ZADD', root .. ':group-budgets', ms(now), group)
  redis.call('PEXPIRE', root .. ':group-budgets', GROUP_BUDGET_MS)
end

-- The record fields among the arguments of a job, by name, until this is called again. One table for all, as in `read_record`.
local given_last = {}
local function read_given(a)
  for name in pairs(given_last) do given_last[name] = false end
  for i = 21, #a, 2 do given_last[a[i]] = a[i + 1] end
  return given_last
end

-- Jobs that this script call has created. Several callers may submit the same job at the same time.
local made_here = {}

-- `a`: the arguments of the job. `may_be_made`: false if none of this script's jobs existed before it.
local function create(a, may_be_made)
  local id, hash, cache_mode = a[1], a[2], a[3]
  local idempotency = a[4] ~= '' and (root .. ':idempotency:' .. a[4])
  local group = a[10] ~= '' and a[10] or false
  local run_at = string.sub(a[9], 1, 1) == '+' and now + tonumber(a[9]) or tonumber(a[9]) or 0
  local scheduled = run_at > now

  -- The record of a job as the answer shows it; nil if there is none.
  local function read_known(known)
    if a[18] == '' then
      local record = redis.call('HGETALL', job_key(known))
      return #record > 0 and record or nil
    end
    local status = redis.call('HGET', job_key(known), 'status')
    return status and { 'status', status } or nil
  end

  local function is_same(fingerprint)
    for one in string.gmatch(a[5], '[^ ]+') do if one == fingerprint then return true end end
    return false
  end

  if idempotency then
    local known = redis.call('HMGET', idempotency, 'id', 'fingerprint', 'moved')
    if known[1] then
      local record = read_known(known[1])
      local is_deleted = record and redis.call('HEXISTS', job_key(known[1]), 'deleted') == 1
      -- Only the history has it.
      if not record and known[3] then record = a[18] == '' and {} or { 'status', known[3] } end
      if record and not is_deleted then
        if not is_same(known[2]) then return { 'conflict' } end
        return { 'replayed', known[1], record }
      end
    end
  end

  -- A client whose connection was lost sends the same request again. A job with this id is created only once.
  local made = (may_be_made or made_here[id]) and read_known(id)
  if made then return { 'replayed', id, made } end

  local given = read_given(a)
  local flow, gather, flex, lane, priority = given.flow or false, given.gather or false, given.flex or false, given.lane or false, given.priority or false
  local patience = patience_of({ gather = gather, flex = flex, created_at = now })
  local its = flow and redis.call('HMGET', flow_key(string.match(flow, '^%S+')), 'status', 'budget_nano', 'cost_nano')
  if its and (not its[1] or is_terminal(its[1])) then return { 'flow_over' } end

  local group_budget = group and read_group_budgets(group)
  if group and (string.match(group_budget or '', '^%S+') or '') ~= a[19] then return { 'group_budgets', group_budget or '' } end

  local most, digest, most_of_key, limits = string.match(a[7], '^(%d+) ?(%S*) ?(%S*) ?(.*)$')
  if open_jobs() >= tonumber(most) then return { 'queue_full' } end
  if digest == '' then digest = false end
  if digest then
    fair.limit(fair.read(digest), limits)
    if (fair.read(digest).fields.open or 0) >= (tonumber(most_of_key) or math.huge) then return { 'fair_key_full' } end
  end

  -- A cached answer, or one that is under way, costs the tenant nothing.
  local function is_free()
    if cache_mode ~= 'use' then return false end
    if is_kept(hash) then return true end
    local leader, goes_along = leader_of(hash, nil, patience, digest)
    return leader ~= nil and goes_along
  end
  if a[11] ~= '' and a[15] ~= '' and math.max(tonumber(a[15]), run_at) > tonumber(a[11]) and not is_free() then
    return { 'deadline_unreachable' }
  end
  -- Until its deadline, its fair key has no call left. A job of a provider batch takes none.
  if a[11] ~= '' and digest and not scheduled and not gather then
    local earliest = fair.earliest(digest, lane, priority)
    if earliest > tonumber(a[11]) and not is_free() then return { 'deadline_unreachable', ms(earliest - now) } end
  end
  -- Lengths of answers matter only if there is a budget.
  local estimate, nano, accounts = a[14], nil, nil
  if a[13] == '' then
    if estimate == 'unpriced' then estimate = '0' end
    estimate = ms(price_estimate(estimate, false))
  else
    local budgets, notify = read_budgets(a[13])
    local free, guessed = is_free(), false
    if estimate == 'unpriced' then
      if not free then return { 'unpriced' } end
      estimate = '0'
    end
    if not free then nano, guessed = price_estimate(estimate, true) end
    -- Whether a budget, with what was spent of it and is reserved, has room for the job. A guess above the whole budget
    -- would refuse every job, and no lengths would ever be learned. So one job at a time is admitted.
    local function has_room(spent, reserved, budget)
      if guessed and reserved == 0 and spent < budget then nano = math.min(nano, budget - spent) end
      return spent + reserved + nano <= budget
    end
    local function refuse(account, about, limit, spent, reserved, ends)
      -- A job that costs more than the whole budget says nothing about the budget.
      if nano <= limit or spent >= limit then account_of(account).refuses = true end
      local code = (not ends and string.find(about, '"owner":"flow"', 1, true)) and 'flow_budget_exhausted' or 'budget_exhausted'
      return { code, ends and ms(math.max(1, ends - now)) or '', about, ms(limit), ms(spent), ms(reserved), ms(nano), ends and ms(ends) or '' }
    end
    for _, one in ipairs(budgets) do
      accounts = accounts and (accounts .. ' ' .. one.name) or one.name
      keep_budget(one.account, one.limit, one.about, notify)
      if one.is_of_day then account_of(one.account).is_of_day = true end
      if not free then
        local spent, reserved = standing_of(one)
        if not has_room(spent, reserved, tonumber(one.limit)) then
          return refuse(one.account, one.about, tonumber(one.limit), spent, reserved, end_of(one.account))
        end
      end
    end
  end

  -- The costs of jobs that an earlier release made are counted only there.
  if its and its[2] and not is_free() and tonumber(its[3] or 0) + (nano or tonumber(estimate)) > tonumber(its[2]) then
    return { 'flow_budget_exhausted' }
  end

  if a[12] ~= '' then
    local wait = take_submission(tonumber(a[12]))
    if wait > 0 then return { 'rate_limited', wait } end
  end

  local job = {
    id = id, created_at = ms(now), group = group, hash = hash, cache_mode = cache_mode,
    deadline = tonumber(a[11] ~= '' and a[11] or 0), entries = 0, estimate = estimate, nano = nano, paid = 0,
    flow = flow, accounts = accounts, gather = gather, flex = flex, fair = digest, is_new = true,
    webhook = given.webhook, reply = given.reply, live = given.live, lane = lane, priority = priority,
    -- Set later.
    status = nil, reserved = nil,
  }
  if given.files then hold_files(given.files) end

  -- A scheduled job looks for a cached answer only when it is due.
  local way, found = 'lead', nil
  if not scheduled then way, found = claim(id, hash, cache_mode, true, patience, digest) end

  local ready = ms(scheduled and run_at or now)
  local status = way == 'hit' and 'completed' or scheduled and 'scheduled' or 'queued'
  -- Missing fields have the usual values: the job is ready from its creation on, and its expected cost is 0.
  local is_queued = true
  local fields = way == 'hit' and { 'status', status, 'created_at', ms(now), 'hash', hash } or
    { 'status', status, 'created_at', ms(now), 'hash', hash, 'cache_mode', cache_mode, 'cache', cache_mode == 'off' and 'off' or 'miss', unpack(a, 21) }
  local function set(name, value) fields[#fields + 1], fields[#fields + 2] = name, value end
  -- The mark that `forget` leaves when the job moves to the history needs it.
  if keeps_history and idempotency then set('key', a[4]) end
  if way == 'hit' then
    set('finished_at', ms(now))
    for i = 21, #a, 2 do if not ONLY_TO_RUN_SET[a[i]] then set(a[i], a[i + 1]) end end
    local free = free_fields(found, 'hit')
    for i = 1, #free, 2 do set(free[i], free[i + 1]) end
  else
    if scheduled then set('ready_at', ready) end
    if estimate ~= '0' then set('estimate', estimate) end
    if accounts then set('accounts', accounts) end
    if digest then set('fair', digest) end
    if scheduled then set('run_at', ready) end
    if way == 'lead' then is_queued = request_entry(job, scheduled and run_at or nil, fields) end
  end
  local call = nil
  if way == 'lead' and is_queued and not scheduled and take_for and a[16] ~= '' then call = take_for(job, a[20], a[16]) end
  if call then
    status, fields[2] = 'running', 'running'
    set('calls', 1)
    set('attempts', 1)
    set('claim', call.token)
    set('started_at', ms(now))
    put(root .. ':outbox', ms(now + call.lease) .. UNTOUCHED, id .. '-' .. job.entries)
    redis.call('HSET', job_key(id) .. ':attempts', 1, '{"started_at":' .. ms(now) .. ',"waited_ms":0' .. call.members .. '}')
  end
  redis.call('HSET', job_key(id), unpack(fields))
  made_here[id] = true
  if group_budget then prolong_group_budgets(group) end
  put(root .. ':jobs', ms(now), id)
  if group then
    redis.call('HINCRBY', group_key(group), 'total', 1)
    put(group_key(group) .. ':jobs', ms(now), id)
  end
  if idempotency then
    redis.call('HSET', idempotency, 'id', id, 'fingerprint', string.match(a[5], '^[^ ]*'))
    if keeps_history then redis.call('HDEL', idempotency, 'moved') end
    redis.call('PEXPIRE', idempotency, a[6])
  end
  index(job, status)

  if way == 'hit' then
    job.reply = nil -- the answer of this script tells the end
    local queued, completed = event_text('job.queued'), event_text('job.completed')
    local seq = redis.call('RPUSH', job_key(id) .. ':events', queued, completed)
    announce(job, 'job.queued', seq - 1, queued)
    announce(job, 'job.completed', seq, completed)
    follow_end(job, 'completed', seq, tonumber(a[8]), free_fields(found, 'hit'))
    if a[18] ~= '' then return { 'hit', ms(now) } end
    return { 'hit', ms(now), found.by, found.usage, found.text or '' }
  end
  if job.deadline > 0 then put(root .. ':deadlines', a[11], id) end
  if call then
    local queued, started = event_text('job.queued', ''), event_text('job.started', ',"attempt":1')
    local seq = redis.call('RPUSH', job_key(id) .. ':events', queued, started)
    announce(job, 'job.queued', seq - 1, queued)
    announce(job, 'job.started', seq, started)
    -- The worker reads a large body itself, because Redis holds messages in memory until they are read.
    redis.call('PUBLISH', a[16], '!' .. call.permit .. ' ' .. ms(now) .. ' ' .. (job.reserved and ms(job.reserved) or '') .. ' ' ..
      ms(call.lease) .. '\n' ..
      a[17] .. '\n' .. (given.body and #given.body <= LONGEST_TEXT and given.body or ''))
    return { 'created', ms(now), 1, '1' }
  end
  emit(job, 'job.queued', scheduled and (',"run_at":' .. ready) or '')
  if way == 'follow' then
    follow(job, found)
    return { 'shared', ms(now) }
  end
  if not is_queued then return { 'parked', ms(now) } end
  local heard = (a[16] ~= '' and not scheduled and call == nil) and redis.call('PUBLISH', a[16], a[17]) or 0
  return { 'created', ms(now), heard, '' }
end

local jobs, keys, hashes, places = {}, {}, {}, {}
while first <= #ARGV do
  local count = tonumber(ARGV[first])
  jobs[#jobs + 1] = { unpack(ARGV, first + 1, first + count) }
  keys[#keys + 1] = job_key(ARGV[first + 1])
  hashes[#hashes + 1] = ARGV[first + 2]
  first = first + count + 1
end
for i, key in ipairs(keys) do places[2 * i - 1], places[2 * i] = key, flight_key(hashes[i]) end
local may_be_made = false
if are_unknown(hashes, places) then
  for _, hash in ipairs(hashes) do flights[hash] = false end
else
  may_be_made = redis.call('EXISTS', unpack(keys)) > 0
end
local answers = {}
for i, job in ipairs(jobs) do
  local ok, answer = pcall(create, job, may_be_made)
  if ok then
    answers[i] = answer
  else
    local failure = failure_of(answer)
    -- A key of another type concerns this job alone. Any other error of Redis concerns all jobs.
    if not string.find(failure.err, 'WRONGTYPE', 1, true) then
      if save_gate then save_gate() end
      return failure
    end
    answers[i] = { 'failed', failure.err }
  end
end
if save_gate then save_gate() end
return answers
