-- Stores the outcomes of calls that end jobs of one tenant, and ends the followers of these jobs with them.
--
-- ARGV  for each job thirteen:
--       1 id  2 call number  3 'completed' | 'failed'  4 content hash  5 retain ms
--       6 end of the attempt (JSON, without the usage in 9); '' if no call was made, and the attempt is taken back
--       7 cache ttl ms (0: do not cache)
--       completed: 8 result  9 usage (JSON or '')  11 where the answer came from ('' as the record says)
--       failed:    8 error (JSON)  9 '1' if only this job failed, and its followers must continue without it
--       10 cost in USD ('' not known)  12 '1' if that is an estimate  13 the files of the result, separated by spaces ('' none)
-- Answer for each job, in their order: {'ok' | 'stale' | 'carried', followers left, id promoted to leader or ''}
--        if followers are left: after 'carried' call this again, else call finish-followers.lua
-- Invariant: a job ends once. Until then any of its calls may give the result (the first to come back wins). Only its
-- latest call may give a failure, and not after the job began to wait for another call. A later outcome is only stored
-- with its attempt.

-- A worker that stores a result again has also listed its files as unheld again.
local function place_files(key, files)
  local v = redis.call('HMGET', key, 'holders', 'until')
  if tonumber(v[1]) > 0 then hold_files(files) else let_files_go(files, tonumber(v[2]) + UNHELD_GRACE_MS) end
end

-- The record holds the files of its own result. Files of a result that comes too late are removed, unless it is the
-- result that was stored already, in the record or apart from it.
local function keep_files(job, ended, files, answer_at)
  if answer_at then
    place_files(answer_at, files)
  elseif not ended or (job and not job.deleted and job.files and string.find(job.files, files, 1, true)) then
    hold_files(files)
  else
    let_files_go(files, now)
  end
end

-- None of the contents has followers, before this script and in it: nothing that ends jobs adds any.
local nobody_follows = false

-- `a`: the arguments of the job.
local function store(a)
  local id, call, status, hash, retain = a[1], tonumber(a[2]), a[3], a[4], tonumber(a[5])
  local job = load(id, true)
  local leads = flight_of(hash) == id
  local known = false -- a worker stores an outcome again if it is not sure that it was stored
  if job and not job.deleted then
    if a[6] == '' then
      redis.call('HDEL', job_key(id) .. ':attempts', call)
    else
      local ending = a[6]
      -- The job has the usage of the call that completed it. Any other call's usage is in its attempt.
      if status == 'completed' and is_terminal(job.status) and a[9] ~= '' and not string.find(ending, '"usage":', 1, true) then
        ending = string.sub(ending, 1, -2) .. ',"usage":' .. a[9] .. '}'
      end
      known = end_attempt(id, call, ending)
    end
  end
  -- Without a call there is no cost.
  local cost = a[6] == '' and 0 or book(job, id, call, to_nano(a[10]), known, a[6])

  local ended = not job or is_terminal(job.status)
  -- The leader was cancelled or deleted meanwhile, and its call runs for its followers only.
  local carried = ended and (not job or job.carrying)
  if not ended and status == 'completed' then
    job.paid = job.paid + cost
    if job.group and cost ~= 0 then redis.call('HINCRBY', group_key(job.group), 'cost_nano', ms(cost)) end
    add_to_flow(job, 'cost_nano', cost)
  elseif job and not job.deleted and job.status ~= 'completed' then
    add_cost(job, cost, a[12] == '1')
  end
  if not ended and status == 'failed' and (job.calls ~= call or job.status ~= 'running') then return { 'stale', 0, '' } end

  local goes_alone = status == 'failed' and (a[9] == '1' or carried)
  local followers = leads and not goes_alone and not nobody_follows and pop_followers(hash, status == 'failed') or {}

  local fields, members, text, answer
  if status == 'completed' then
    text = #a[8] <= LONGEST_TEXT and a[8]
    local ttl = (leads or not ended) and tonumber(a[7]) or 0
    if ttl > 0 or #followers > 0 then
      answer = { by = answer_name(id, call), usage = a[9], text = text }
      -- If the outcome of a call is stored already, so is its answer.
      local known_at = (ended or known) and find_answer(hash, answer.by)
      if known_at then
        add_holders(known_at, #followers)
        if a[13] ~= '' then place_files(known_at, a[13]) end
      else
        put_answer(hash, answer.by, a[8], a[9], ttl, #followers + (ended and 0 or 1), a[13] ~= '' and a[13] or nil)
      end
    elseif a[13] ~= '' then
      keep_files(job, ended, a[13], ended and find_answer(hash, answer_name(id, call)))
    end
    fields = { answer and 'answer' or 'result', answer and answer.by or a[8], 'usage', a[9], 'cost_usd', a[10] == '' and '' or '0' }
    if a[11] ~= '' then fields[7], fields[8] = 'cache', a[11] end
    if a[12] == '1' then fields[#fields + 1], fields[#fields + 2] = 'cost_is_estimate', '1' end
    if not answer and not ended and a[13] ~= '' then
      fields[#fields + 1], fields[#fields + 2] = 'files', (job.files and job.files .. ' ' or '') .. a[13]
    end
  else
    fields, members = { 'error', a[8] }, ',"error":' .. a[8]
  end
  if not ended then
    -- The job was retried and waits for another job's call, but its own earlier call came back first.
    if job.leader then redis.call('ZREM', followers_key(job.hash), id) end
    if a[6] == '' then redis.call('HSET', job_key(id), 'attempts', job.attempts - 1) end
    if status == 'completed' and a[6] ~= '' then learn_output(job, a[9]) end
    finish(job, status, retain, fields, members, text)
  end

  local left, promoted = 0, ''
  if leads then
    if goes_alone then
      promoted = promote(hash) or ''
    else
      local shared = answer and free_fields(answer, 'shared') or fields
      left = finish_followers(hash, followers, status, retain, shared, members, text)
      if left > 0 then
        -- A carried call has no record from which to continue: its worker calls again, or dies and another job leads.
        if not carried then redis.call('SADD', root .. ':draining', id) end
      else
        end_flight(hash)
        if ended then redis.call('SREM', root .. ':draining', id) end
      end
    end
    if left == 0 and job and job.carrying then
      redis.call('HDEL', job_key(id), 'carrying', 'claim')
      take_out(root .. ':outbox', id .. '-' .. job.entries)
    end
    if left == 0 and job and job.deleted then redis.call('DEL', job_key(id)) end
  end
  return { carried and 'carried' or ended and 'stale' or 'ok', left, promoted }
end

local hashes, follower_keys = {}, {}
for i = 4, #ARGV, 13 do
  hashes[#hashes + 1] = ARGV[i]
  follower_keys[#follower_keys + 1] = followers_key(ARGV[i])
end
read_flights(hashes)
nobody_follows = are_unknown(hashes, follower_keys)
local answers = {}
for i = 1, #ARGV, 13 do answers[#answers + 1] = store({ unpack(ARGV, i, i + 12) }) end
return answers
