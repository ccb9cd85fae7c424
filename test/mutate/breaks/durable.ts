import type { Break } from '../break.ts'

const API = ['test/integration/api/durable.test.ts']
const CLIENT = ['test/integration/client/durable.test.ts']
const TTL = ['test/integration/times-to-live.test.ts']
const AT_REST = ['test/integration/durable/at-rest.test.ts']

/** Breaks of the steps of durable functions. */
export const DURABLE_BREAKS: readonly Break[] = [
  {
    file: 'durable/lua/begin.lua',
    find: 'known.job or ARGV[7]',
    replace: 'ARGV[7] or known.job',
    tests: API,
    titles: 'is begun once, by however many at once',
    says: 'two callers that begin a step at once create two jobs',
  },
  {
    file: 'durable/lua/begin.lua',
    find: 'if not is_same and (is_made or making_until',
    replace: 'if not is_same and (false and making_until',
    tests: API,
    titles: 'an error for other JSON',
    says: 'a step may become another under its name',
  },
  {
    file: 'durable/lua/begin.lua',
    find: "if kind == 'job' then begin_making() end",
    replace: '',
    tests: API,
    titles: 'is one of several that are asked for at once',
    says: 'a step gets the job of another create object that came at the same time',
  },
  {
    file: 'durable/lua/release.lua',
    find: 'if makers > 1 then',
    replace: 'if false then',
    tests: API,
    titles: 'stays with its create object while one of several requests',
    says: 'a refused request opens a step whose job another request still creates',
  },
  {
    file: 'durable/lua/begin.lua',
    find: 'keep(over or now)',
    replace: 'keep(now)',
    tests: TTL,
    titles: 'is kept for as long as jobs are after a sleep',
    says: 'a run is deleted while it sleeps',
  },
  {
    file: 'durable/lua/signal.lua',
    find: "  return { sender ~= '-' and sender == ARGV[4] and 'sent' or 'taken', at }\n",
    replace: "  return { 'sent', at }\n",
    tests: API,
    titles: 'gets one value',
    says: 'a second signal is lost without an error',
  },
  {
    file: 'durable/lua/signal.lua',
    find: "redis.call('PUBLISH', root .. ':live:durable:' .. ARGV[1], name)\n",
    replace: '',
    tests: API,
    titles: 'gets any JSON as it was sent',
    says: 'a waiting caller does not learn of a signal',
  },
  {
    file: 'durable/store.ts',
    find: 'value: sealer.seal(sealedPlace(tenant, id, name), plain) ?? plain,',
    replace: 'value: plain,',
    tests: AT_REST,
    titles: 'stored encrypted',
    says: 'values of signals are stored in plain text',
  },
  {
    file: 'jobs/lua/forget.lua',
    find: "redis.call('HDEL', durable_key(run), 's:' .. step) == 1",
    replace: "redis.call('HEXISTS', durable_key(run), 's:' .. step) == 1",
    tests: TTL,
    titles: 'loses the step whose job is deleted',
    says: 'a step outlives its job, whose id is then used twice',
  },
  {
    file: 'jobs/lua/retire.lua',
    find: '  elseif kept then\n',
    replace: '  elseif kept and false then\n',
    tests: TTL,
    titles: 'keeps its jobs, though their own time is over',
    says: 'jobs are deleted before their durable run',
  },
  {
    file: 'jobs/lua/retire.lua',
    find: '      return now + LOOK_AGAIN_MS\n',
    replace: '      last = 0\n',
    tests: TTL,
    titles: 'waits for its jobs',
    says: 'a durable run is deleted while its job is open',
  },
  {
    file: 'client/durable.ts',
    find: '        if (names.has(name)) {\n',
    replace: '        if (names.has(name) && false) {\n',
    tests: CLIENT,
    titles: 'two steps of one name',
    says: 'two steps of a run may have one name',
  },
  {
    file: 'client/durable.ts',
    find: '      over.abort()\n',
    replace: '',
    tests: CLIENT,
    titles: 'leaves nothing behind when it ends',
    says: 'a function that has ended keeps sending requests',
  },
]
