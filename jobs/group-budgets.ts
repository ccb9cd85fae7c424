import { randomBytes } from 'node:crypto'
import type { RedisClient } from '../lib/redis.ts'
import type { AnyBudget } from './budgets.ts'
import type { Scripts } from './scripts.ts'

/** A group's budgets are kept for so long, ms, after its latest job, or after they were set. As in lua/create.lua. */
const KEPT_MS = 400 * 86_400_000

/** Groups of a tenant that may have budgets. */
export const MOST_GROUPS_WITH_BUDGETS = 10_000

/** Groups whose budgets a process knows. */
const MOST_KNOWN = 1000

/** Budgets of a group. `version` tells them from those that were set before. */
export type GroupBudgets = { version: string; budgets: readonly AnyBudget[] }

/** Key: `<version> <JSON>`, the budgets of a group. */
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

/** Key: the groups that have budgets. */
function groupNamesKey(root: string): string {
  return `${root}:group-budgets`
}

/** Budgets of groups in Redis. */
export type GroupBudgetStore = {
  /** Null: the group has none. Adds the group to `names` where it is missing: a version before may have set its budgets. */
  get(root: string, group: string): Promise<GroupBudgets | null>
  /** The groups that have or had budgets, in the order of their names. */
  names(root: string): Promise<string[]>
  /** False: as many groups have budgets as may have. */
  set(root: string, group: string, budgets: readonly AnyBudget[]): Promise<boolean>
  /** False: there was none. */
  remove(root: string, group: string): Promise<boolean>
}

/** @param deps.most groups of a tenant that may have budgets */
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
      // While Redis takes no writes it is read all the same; the next read adds the name.
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
 * What this process knows of groups' budgets. It may be old: create.lua says so, and what holds then.
 */
export function createKnownGroupBudgets() {
  const known = new Map<string, GroupBudgets>()
  const nameOf = (root: string, group: string) => `${root}\n${group}`
  return {
    get: (root: string, group: string | null) =>
      group === null ? null : (known.get(nameOf(root, group)) ?? null),
    /** @param stored what the group's key holds; '' nothing */
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
