/** Waiting for a condition: the one way in which these tests synchronise. */

export interface Patience {
  readonly timeout?: number;
}

type Nothing = false | null | undefined | 0 | "";

const PAUSE_MS = 50;

/**
 * Asks `condition` until it gives something truthy, and returns that.
 *
 * @param what names the thing waited for; it is the message when it does not come in time.
 */
export async function until<T>(
  what: string,
  condition: () => T | Promise<T>,
  { timeout = 30_000 }: Patience = {},
): Promise<Exclude<T, Nothing>> {
  const deadline = performance.now() + timeout;
  for (;;) {
    const value = await condition();
    if (value) return value as Exclude<T, Nothing>;
    if (performance.now() > deadline) throw new Error(`gave up after ${timeout / 1000} s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}
