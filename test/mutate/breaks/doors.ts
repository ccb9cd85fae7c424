import type { Break } from '../break.ts'

const PAGE = ['test/e2e/dashboard.test.ts']

/** Breaks where people and configuration come in. */
export const DOOR_BREAKS: readonly Break[] = [
  {
    file: 'dashboard/src/views/deliveries.tsx',
    find: '/redeliver`',
    replace: '/deliver`',
    tests: PAGE,
    titles: 'another tenant',
    says: '"Send again" of the page calls a route that does not exist',
  },
  {
    file: 'dashboard/src/views/deliveries.tsx',
    find: "        method: 'POST',\n        tenant,",
    replace: "        method: 'POST',",
    tests: PAGE,
    titles: 'another tenant',
    says: '"Send again" of the page does not name the tenant of the delivery',
  },
  {
    file: 'dashboard/src/views/job-actions.tsx',
    find: "{ method: 'DELETE', tenant }",
    replace: "{ method: 'DELETE' }",
    tests: PAGE,
    titles: 'another tenant',
    says: 'the page deletes a job without naming its tenant',
  },
  {
    file: 'config/watch.ts',
    find: '        ...next,\n        server',
    replace: '        ...config,\n        cache: next.cache,\n        server',
    tests: ['test/unit/config/watch.test.ts'],
    says: 'the live configuration is replaced in part',
  },
  {
    file: 'config/watch.ts',
    find: '        tenants,\n',
    replace: '',
    tests: ['test/unit/config/watch.test.ts'],
    says: 'a file without tenants opens a running service',
  },
]
