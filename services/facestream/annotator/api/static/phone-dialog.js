// Adding a phone without an app, and showing its link again: as a QR code to scan, and as text.

import { call, cameraPath } from "./api-client.js";

const $ = (id) => document.getElementById(id);

export class PhoneDialog {
  // `statusOf(name)` gives what the events last said of a camera; `onLive(name)` is called once.
  constructor(statusOf, onLive) {
    this.statusOf = statusOf;
    this.onLive = onLive;
    $("phone-copy").addEventListener("click", () => this.copy());
  }

  async showAgain(name) {
    this.show(await call("POST", `${cameraPath(name)}/phone-link`, {}));
  }

  show({ camera, link, qr, note }) {
    this.camera = camera;
    this.wasLive = false;
    $("phone-title").textContent = `A phone as camera “${camera}”`;
    $("phone-qr").src = `data:image/svg+xml,${encodeURIComponent(qr)}`;
    $("phone-link").value = link;
    $("phone-note").textContent = note;
    $("phone-note").hidden = !note;
    $("phone-scan").hidden = Boolean(note); // no phone could do anything with it
    $("phone-result").dataset.level = "";
    $("phone-result").textContent = "";
    $("phone-dialog").showModal();
    this.changed();
  }

  // A camera's state may have changed.
  changed() {
    if (!$("phone-dialog").open) return;
    const status = this.statusOf(this.camera);
    const live = status?.state === "live";
    $("phone-result").dataset.level = live ? "good" : "busy";
    $("phone-result").textContent = live ? `Live: ${status.width} × ${status.height}.` : status?.state === "stopped" ? "Paused." : "Waiting for the phone…";
    if (live && !this.wasLive) this.onLive(this.camera);
    this.wasLive = live;
  }

  async copy() {
    $("phone-link").select();
    try {
      await navigator.clipboard.writeText($("phone-link").value);
      $("phone-copy").textContent = "Copied";
    } catch (error) {
      $("phone-copy").textContent = document.execCommand("copy") ? "Copied" : "Selected";
    }
    setTimeout(() => { $("phone-copy").textContent = "Copy"; }, 1500);
  }
}
