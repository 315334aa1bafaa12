/**
 * What runs inside the process answers without the event loop: whoever awaits one call after another would keep its timers,
 * signals and sockets waiting for as long as that goes on, and a probe would take the process for dead.
 */

/** Milliseconds that one turn of the loop goes on for. */
const LONGEST = 10;

/** When something was first run in this turn of the loop. */
let begun: number | undefined;
let next: { readonly promise: Promise<void>; readonly resolve: () => void } | undefined;

/** The answer of what has just been started, in the next turn of the loop when this one has gone on for long. */
export function answeredInTurn<R>(answer: Promise<R>): Promise<R> {
  const next = nextTurn();
  return next === undefined ? answer : answer.finally(() => next);
}

/** To be asked before something runs. @returns `undefined`: it may run at once; else it has to wait for that */
export function nextTurn(): Promise<void> | undefined {
  const now = performance.now();
  if (begun === undefined) {
    begun = now;
    setImmediate(endTurn);
    return undefined;
  }
  if (now - begun < LONGEST) return undefined;
  if (next === undefined) {
    let resolve = (): void => undefined;
    const promise = new Promise<void>((settle) => (resolve = settle));
    next = { promise, resolve };
  }
  return next.promise;
}

function endTurn(): void {
  const waiting = next;
  begun = next = undefined;
  waiting?.resolve();
}
