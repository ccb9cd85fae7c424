-- Counts a request that makes no job among the submissions of its tenant.
--
-- ARGV   1 submissions a minute
-- Answer ms until there is room; 0: it is counted

return take_submission(tonumber(ARGV[1]))
