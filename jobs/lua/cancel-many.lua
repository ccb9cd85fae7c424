-- Cancels those of these open jobs that match a filter, for their owner; see cancel.lua.
--
-- ARGV  1 retain ms  2 '1': only count  3 most jobs  4 status  5 type  6 lane  7 provider  8 group ('' any)  9… ids
-- Answer {how many match the filter, then for each cancelled job: id, status before, '1' if its call has to be aborted,
--         promoted or '', lane, number of its queue entry}
-- Invariants: those of cancel.lua. A job that was promoted here and then also cancelled is not named as promoted.

local retain, counts_only, most = tonumber(ARGV[1]), ARGV[2] == '1', tonumber(ARGV[3])
local status, type_, lane, provider, group = ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8]

local function is_named(job)
  if is_terminal(job.status) then return false end
  if status ~= '' and job.status ~= status then return false end
  if type_ ~= '' and job.more[1] ~= type_ then return false end
  if lane ~= '' and job.more[2] ~= lane then return false end
  if provider ~= '' and string.sub(job.more[2] or '', 1, #provider + 1) ~= provider .. '/' then return false end
  return group == '' or job.group == group
end

local MORE = { 'type', 'lane' }
local answer, ended, matched = {}, {}, 0
for i = 9, #ARGV do
  local job = load(ARGV[i], false, MORE)
  if job and is_named(job) then
    matched = matched + 1
    if not counts_only then
      local was = job.status
      book_unknown(job)
      local promoted = leave_flight(job, was)
      finish(job, 'cancelled', retain)
      ended[job.id] = true
      local abort = was == 'running' and not job.carrying
      for _, value in ipairs({ job.id, was, abort and '1' or '', promoted, job.more[2] or '', ms(job.entries) }) do
        answer[#answer + 1] = value
      end
    end
    if matched == most then break end
  end
end
for i = 4, #answer, 6 do
  if ended[answer[i]] then answer[i] = '' end
end
return { ms(matched), unpack(answer) }
