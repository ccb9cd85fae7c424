-- Books what a call costs that is no job's.
--
-- ARGV  1 budgets that it counts against, as create.lua has them ('' none)  2 billionths of a dollar: what it may cost; with 3 what it cost more
--       than was booked, which may be below 0  3 accounts that it was booked in, `-` none ('': see whether there is room, and book it)
--       4 with 3 the number of the UTC day that it was booked in
-- Answer {'booked', accounts, number of the UTC day} | {'budget_exhausted', as create.lua answers it}
-- Invariants: what the call may cost is spent before it leaves. Should its process die, that stays. What it cost in the end counts in the
-- windows and the day that it was booked in, also when they are over.

local budgets, notify = read_budgets(ARGV[1])
local nano, accounts, day = tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]) or TODAY
if accounts == '' then
  local names = {}
  for i, one in ipairs(budgets) do
    names[i] = one.name
    keep_budget(one.account, one.limit, one.about, notify)
    if one.is_of_day then account_of(one.account).is_of_day = true end
    local spent, reserved = standing_of(one)
    if spent + reserved + nano > tonumber(one.limit) then
      -- One that is larger than the whole budget says nothing of it.
      if nano <= tonumber(one.limit) or spent >= tonumber(one.limit) then account_of(one.account).refuses = true end
      local ends = end_of(one.account)
      return { 'budget_exhausted', ends and ms(math.max(1, ends - now)) or '', one.about, one.limit, ms(spent), ms(reserved), ms(nano), ends and ms(ends) or '' }
    end
  end
  accounts = table.concat(names, ' ')
end
spend(nano, { accounts = (accounts ~= '' and accounts ~= '-') and accounts or nil }, day)
return { 'booked', accounts, ms(day) }
