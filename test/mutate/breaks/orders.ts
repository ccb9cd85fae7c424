import type { Break } from '../break.ts'

const FLOWS = ['test/integration/flows/flows.test.ts']
const SLOTS = ['test/integration/schedules/slots.test.ts']
const SCHEDULES = ['test/integration/api/schedules.test.ts']
const RESEAL = ['test/integration/encryption/reseal.test.ts']

/** Breaks of schedules and flows. */
export const ORDER_BREAKS: readonly Break[] = [
  {
    file: 'schedules/lua/claim.lua',
    find: "    elseif v[2] == v[1] then state = 'begun'\n",
    replace: '',
    tests: SLOTS,
    titles: 'is left to the next worker when one died before its job',
    says: 'a slot whose worker died is missed',
  },
  {
    file: 'schedules/lua/settle.lua',
    find: 'if tonumber(ARGV[i]) > settled then',
    replace: 'if true then',
    tests: SLOTS,
    titles: 'that was decided is not decided again',
    says: 'a slot that two workers reach is listed twice',
  },
  {
    file: 'schedules/lua/common.lua',
    find: "v[1] == '1' or ",
    replace: '',
    tests: SLOTS,
    titles: 'is not run while the schedule is paused',
    says: 'a paused schedule goes on',
  },
  {
    file: 'schedules/lua/common.lua',
    find: 'tonumber(v[3] or 0) >= tonumber(v[2])',
    replace: 'tonumber(v[3] or 0) > tonumber(v[2])',
    tests: SLOTS,
    titles: 'is the last one when there were as many as there may be',
    says: 'a schedule runs once more than it may',
  },
  {
    file: 'schedules/plan-slots.ts',
    find: 'if (slot === due.slot && isBegun) return true',
    replace: '',
    tests: ['test/unit/schedules/timetable.test.ts'],
    titles: 'was begun is run besides',
    says: 'a slot that was begun is dropped after a newer one',
  },
  {
    file: 'schedules/lua/change.lua',
    find: "if v[1] ~= ARGV[2] then return 'stale' end\n",
    replace: '',
    tests: SCHEDULES,
    titles: 'that conflicts with others is not lost',
    says: 'of two changes at once one is lost',
  },
  {
    file: 'schedules/keys.ts',
    find: '`${schedule}\\n${scheduledFor}`',
    replace: '`${schedule}\\n`',
    tests: SLOTS,
    titles: 'the newest hundred are run',
    says: 'all slots of a schedule have one job',
  },
  {
    file: 'flows/lua/signal.lua',
    find: "wake(id)\nreturn 'ok'",
    replace: "return 'ok'",
    tests: FLOWS,
    titles: 'waits for a signal, once',
    says: 'a flow does not get its signal',
  },
  {
    file: 'flows/lua/advance.lua',
    find: "redis.call('LTRIM', key .. ':ended', ARGV[3], -1)",
    replace: 'local _ = 0',
    tests: FLOWS,
    titles: 'failures',
    says: 'an ended job is counted with each look',
  },
  {
    file: 'flows/lua/signal.lua',
    find: "if redis.call('HSETNX', key .. ':values', ARGV[2], ARGV[3]) == 0 then return 'again' end",
    replace: "redis.call('HSET', key .. ':values', ARGV[2], ARGV[3])",
    tests: FLOWS,
    titles: 'waits for a signal, once',
    says: 'a second signal takes the place of the first',
  },
  {
    file: 'flows/lua/retry.lua',
    find: "redis.call('HSET', key, 'restart', '1')\n",
    replace: '',
    tests: FLOWS,
    titles: 'cancels at once, with all jobs',
    says: 'a flow that is retried begins nothing again',
  },
  {
    file: 'flows/keys.ts',
    find: '`${flow.id} ${step} ${element} ${attempt}`',
    replace: '`${flow.id} ${step} ${attempt}`',
    tests: FLOWS,
    titles: 'runs a list that is longer',
    says: 'elements of a list share a job',
  },
  {
    file: 'lib/reseal.lua',
    find: "if redis.call('HGET', key, ARGV[i + 1]) == ARGV[i + 2] then",
    replace: 'if false then',
    tests: RESEAL,
    says: 'values without an end are lost with the key that encrypted them',
  },
  {
    file: 'services/reseal-task.ts',
    find: 'schedules: ofSchedules, ',
    replace: '',
    tests: RESEAL,
    says: 'schedules cannot be read when the key that encrypted them is gone',
  },
]
