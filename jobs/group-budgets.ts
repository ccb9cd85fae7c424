import { randomBytes } from 'node:crypto'
import type { RedisClient } from '../lib/redis.ts'
import type { AnyBudget } from './budgets.ts'
import type { Scripts } from './scripts.ts'

/**
 * A group's budgets are kept this long after its latest job, or after they were set, ms. It must be the same as in
 * lua/create.lua.
 */
const KEPT_MS = 400 * 86_400_000

/** How many groups of a tenant may have budgets. */
export const MOST_GROUPS_WITH_BUDGETS = 10_000

/** How many groups' budgets a process remembers. */
const MOST_KNOWN = 1000

/** Budgets of a group. `version` differs each time that they are set. */
export type GroupBudgets = { version: string; budgets: readonly AnyBudget[] }

/** Key: the budgets of a group, as `<version> <JSON>`. */
function groupBudgetKey(root: string, group: string): string {
  return `${root}:group-budget:${group}`
}

function readGroupBudgets(stored: string): GroupBudgets | null {
  const blank = stored.indexOf(' ')
  return blank < 0
    ? null
    : {
        version: stored.slice(0, blank),
        budgets: JSON.parse(stored.slice(blank + 1)) as AnyBudget[],
      }
}

/** Key: the names of the groups that have budgets. */
function groupNamesKey(root: string): string {
  return `${root}:group-budgets`
}

/** Budgets of groups in Redis. */
export type GroupBudgetStore = {
  /**
   * Null: the group has no budgets. Adds the group to `names` if it is missing there, because an earlier release may
   * have set its budgets.
   */
  get(root: string, group: string): Promise<GroupBudgets | null>
  /** The groups that have or had budgets, sorted by name. */
  names(root: string): Promise<string[]>
  /** False: no further group may have budgets. */
  set(root: string, group: string, budgets: readonly AnyBudget[]): Promise<boolean>
  /** False: the group had no budgets. */
  remove(root: string, group: string): Promise<boolean>
}

/** @param deps.most how many groups of a tenant may have budgets */
export function createGroupBudgetStore(deps: {
  redis: RedisClient
  scripts: Pick<Scripts, 'run'>
  most: number
}): GroupBudgetStore {
  const { redis, scripts, most } = deps
  const write = async (root: string, group: string, text: string) =>
    String(await scripts.run('set-group-budget', root, [group, text, KEPT_MS, most]))
  return {
    async get(root, group) {
      const [stored, named] = await Promise.all([
        redis.get(groupBudgetKey(root, group)),
        redis.zscore(groupNamesKey(root), group),
      ])
      // Reading works even while Redis takes no writes. The next read adds the name.
      if (stored !== null && named === null) await write(root, group, 'name').catch(() => {})
      return stored === null ? null : readGroupBudgets(stored)
    },
    names: async (root) => (await redis.zrange(groupNamesKey(root), '0', '-1')).sort(),
    async set(root, group, budgets) {
      const version = randomBytes(9).toString('base64url')
      return (await write(root, group, `${version} ${JSON.stringify(budgets)}`)) === 'done'
    },
    remove: async (root, group) => (await write(root, group, '')) === 'done',
  }
}

/**
 * The budgets of groups that this process has seen. They may be old: then create.lua says so, and returns the current
 * ones.
 */
export function createKnownGroupBudgets() {
  const known = new Map<string, GroupBudgets>()
  const nameOf = (root: string, group: string) => `${root}\n${group}`
  return {
    get: (root: string, group: string | null) =>
      group === null ? null : (known.get(nameOf(root, group)) ?? null),
    /** @param stored what the group's key holds; '' for nothing */
    learn(root: string, group: string, stored: string): void {
      const name = nameOf(root, group)
      known.delete(name)
      const budgets = readGroupBudgets(stored)
      if (budgets === null) return
      known.set(name, budgets)
      if (known.size > MOST_KNOWN) known.delete(known.keys().next().value!)
    },
  }
}
