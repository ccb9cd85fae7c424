-- Books the cost of a call that belongs to no job.
--
-- ARGV  1 budgets that the call counts against, in the form that create.lua reads ('' none)
--       2 billionths of a dollar: the estimate; with 3, what the call cost more than was booked (it may be below 0)
--       3 accounts in which it was booked, `-` for none ('': check for room, and book it)
--       4 with 3, the number of the UTC day in which it was booked
-- Answer {'booked', accounts, number of the UTC day} | {'budget_exhausted', as create.lua answers it}
-- Invariants: the estimate is booked before the call is sent, and stays if its process dies. The final cost counts in
-- the windows and the day in which the call was booked, even if they are over.

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
      -- A call that costs more than the whole budget says nothing about the budget.
      if nano <= tonumber(one.limit) or spent >= tonumber(one.limit) then account_of(one.account).refuses = true end
      local ends = end_of(one.account)
      return { 'budget_exhausted', ends and ms(math.max(1, ends - now)) or '', one.about, one.limit, ms(spent), ms(reserved), ms(nano), ends and ms(ends) or '' }
    end
  end
  accounts = table.concat(names, ' ')
end
spend(nano, { accounts = (accounts ~= '' and accounts ~= '-') and accounts or nil }, day)
return { 'booked', accounts, ms(day) }
