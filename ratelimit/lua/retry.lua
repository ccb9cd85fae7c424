-- Books retries that are about to be scheduled, so that they stay a fifth of the lane's requests. The twin, with the
-- reasons, is retry-budget.ts.
--
-- ARGV    10 how many
-- Answer  for each, by how many ms it has to be put off
-- Invariant: what was promised to one retry is never earned by another.

local CAP, SHARE, TRICKLE, LONGEST_MS = 10, 0.2, 0.0005, 600000

local state, now = open()
local budget, taken = state.retries, state.taken[1]
budget.saved = budget.saved + SHARE * (taken - budget.seen)
budget.seen = taken
if now > budget.promisedUntil then
  budget.saved = budget.saved + TRICKLE * (now - budget.promisedUntil)
  budget.promisedUntil = now
end
budget.saved = min(CAP, budget.saved)

local waits = {}
for i = 1, tonumber(ARGV[10]) do
  if budget.saved >= 1 then
    budget.saved = budget.saved - 1
    waits[i] = 0
  else
    local promised = budget.promisedUntil + (1 - budget.saved) / TRICKLE
    budget.promisedUntil = min(promised, now + LONGEST_MS)
    budget.saved = 0
    waits[i] = math.ceil(budget.promisedUntil - now)
  end
end
save(state)
return waits
