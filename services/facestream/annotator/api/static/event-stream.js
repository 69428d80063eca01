// Client of the server-sent events. Reconnects after every kind of loss, and disconnects while the
// page is hidden: browsers open at most six connections per server, over all windows.

const SILENCE_TIMEOUT_MS = 40000; // the server sends an event every 15 s at least
const RECONNECT_MS = 2000;

export class EventStream {
  // `handlers` maps event types to functions of the parsed data. `onDisconnect()` is called when no
  // connection is open, `onLost()` for an unexpected loss, `onRejected()` for an HTTP error.
  constructor(handlers, { onDisconnect, onLost, onRejected }) {
    this.handlers = handlers;
    this.onDisconnect = onDisconnect;
    this.onLost = onLost;
    this.onRejected = onRejected;
    this.source = null;
    this.watchdog = 0;
    document.addEventListener("visibilitychange", () => this.connect());
  }

  connect() {
    this.disconnect();
    if (document.hidden) return;
    const source = this.source = new EventSource("/api/events");
    let lastEventAt = performance.now();
    for (const [type, handler] of Object.entries(this.handlers)) {
      source.addEventListener(type, (event) => {
        lastEventAt = performance.now();
        handler(JSON.parse(event.data));
      });
    }
    // On a dead network a browser reports no error for minutes.
    this.watchdog = setInterval(() => {
      if (performance.now() - lastEventAt < SILENCE_TIMEOUT_MS) return;
      this.connect();
      this.onLost();
    }, SILENCE_TIMEOUT_MS / 4);
    source.onerror = () => {
      if (source !== this.source) return;
      this.onDisconnect();
      this.onLost();
      // EventSource stops retrying after an HTTP error; an unattended display must recover.
      if (source.readyState === EventSource.CLOSED) {
        setTimeout(() => { if (source === this.source) this.connect(); }, RECONNECT_MS);
        this.onRejected();
      }
    };
  }

  disconnect() {
    clearInterval(this.watchdog);
    this.source?.close();
    this.source = null;
    this.onDisconnect();
  }
}
