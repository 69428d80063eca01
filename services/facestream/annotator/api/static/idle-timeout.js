// How long something is waited for: `signal` gives up after `ms`, or when `outer` does. `alive()` begins
// the wait anew, `end()` ends it.

export function patience(ms, outer) {
  const own = new AbortController();
  const giveUp = () => own.abort();
  let timer = setTimeout(giveUp, ms);
  outer?.addEventListener("abort", giveUp);
  return {
    signal: own.signal,
    alive() { clearTimeout(timer); timer = setTimeout(giveUp, ms); },
    end() { clearTimeout(timer); outer?.removeEventListener("abort", giveUp); },
  };
}
