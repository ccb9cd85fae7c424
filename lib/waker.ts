/** A sleep that can be ended early; a wake-up during no sleep ends the next one at once. */
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
