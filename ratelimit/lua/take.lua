-- Grants the longest prefix of the costs that may leave now; each cost from every bucket or from none, and of the sources from
-- the one with the most room.
--
-- ARGV    FIRST lease in ms; then for each cost: requests, tokens, input tokens, output tokens, its tenant or '', the source that
--         it has to go to or ''; a source that there is not binds nothing; its tier of service
-- Answer  {ms until the next cost could pass (0: all passed, -1: never), what it waits for or '', permit…};
--         what it waits for is 'tier' where calls of other tiers may leave, 'breaker' where those of other tenants may as well
-- Invariant: that of grant.lua, which stands before this.

local answer = { 0, '' }
for i = FIRST + 1, #ARGV, 7 do
  local cost = { tonumber(ARGV[i]), tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3]) }
  local caller = { tenant = ARGV[i + 4], source = ARGV[i + 5], tier = ARGV[i + 6] }
  local wait, waitingFor, source = refuse(cost, caller)
  if wait then
    answer[1], answer[2] = wait, waitingFor
    break
  end
  answer[#answer + 1] = grant(cost, caller, source)
end
saveBuckets()
return answer
