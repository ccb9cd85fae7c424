/** A sleep that can be ended early. A wake-up while nothing sleeps ends the next sleep at once. */
export type Waker = { wake(): void; sleep(ms: number): Promise<void> }

export function createWaker(): Waker {
  let woken = false
  let end: (() => void) | null = null
  return {
    wake() {
      woken = true
      end?.()
    },
    async sleep(ms) {
      if (!woken) {
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, ms)
          end = () => {
            clearTimeout(timer)
            resolve()
          }
        })
      }
      end = null
      woken = false
    },
  }
}
