// Abortable idle timeout. `signal` aborts `ms` after the last `reset()`, or when `outerSignal`
// aborts. Call `cancel()` when the wait is over.

export function idleTimeout(ms, outerSignal) {
  const controller = new AbortController();
  const abort = () => controller.abort();
  let timer = setTimeout(abort, ms);
  outerSignal?.addEventListener("abort", abort);
  return {
    signal: controller.signal,
    reset() { clearTimeout(timer); timer = setTimeout(abort, ms); },
    cancel() { clearTimeout(timer); outerSignal?.removeEventListener("abort", abort); },
  };
}
