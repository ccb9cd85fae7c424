/**
 * Splits an integer by weights with the largest remainder method: the shares are integers and add up to the total. Of equal remainders the
 * first gets the unit. Without any weight all weigh the same.
 */
export function splitByWeight(total: number, weights: readonly number[]): number[] {
  const sum = weights.reduce((left, right) => left + right, 0)
  const quotas = weights.map((weight) => (sum > 0 ? (total * weight) / sum : total / weights.length))
  const shares = quotas.map(Math.floor)
  let rest = total - shares.reduce((left, right) => left + right, 0)
  const byRemainder = quotas
    .map((quota, index) => ({ index, remainder: quota - Math.floor(quota) }))
    .sort((left, right) => right.remainder - left.remainder || left.index - right.index)
  for (const { index } of byRemainder) {
    if (rest <= 0) break
    shares[index]! += 1
    rest -= 1
  }
  return shares
}
