// Dialog with the link that pairs a phone: as a QR code and as text, for a new phone or an existing one.

import { callApi, cameraPath } from "./api-client.js";

const $ = (id) => document.getElementById(id);

export class PhoneDialog {
  // `statusOf(name)` returns the latest known status of a camera; `onLive(name)` is called once per dialog.
  constructor(statusOf, onLive) {
    this.statusOf = statusOf;
    this.onLive = onLive;
    $("phone-copy").addEventListener("click", () => this.copyLink());
  }

  async openFor(name) {
    this.open(await callApi("POST", `${cameraPath(name)}/phone-link`, {}));
  }

  open({ camera, link, qr, note }) {
    this.camera = camera;
    this.wasLive = false;
    $("phone-title").textContent = `Phone camera “${camera}”`;
    $("phone-qr").src = `data:image/svg+xml,${encodeURIComponent(qr)}`;
    $("phone-link").value = link;
    $("phone-note").textContent = note;
    $("phone-note").hidden = !note;
    $("phone-pairing").hidden = Boolean(note); // no phone could use this link
    $("phone-result").dataset.level = "";
    $("phone-result").textContent = "";
    $("phone-dialog").showModal();
    this.updateStatus();
  }

  updateStatus() {
    if (!$("phone-dialog").open) return;
    const status = this.statusOf(this.camera);
    const isLive = status?.state === "live";
    $("phone-result").dataset.level = isLive ? "ok" : "pending";
    $("phone-result").textContent = isLive ? `Live: ${status.width} × ${status.height}.` : status?.state === "paused" ? "Paused." : "Waiting for the phone…";
    if (isLive && !this.wasLive) this.onLive(this.camera);
    this.wasLive = isLive;
  }

  async copyLink() {
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
