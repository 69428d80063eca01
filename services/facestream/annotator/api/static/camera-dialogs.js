// Dialogs of cameras: add a camera (with steps for common phone apps and a connection test), and the
// prompt for a new name or for confirming a removal.

import { callApi, cameraPath } from "./api-client.js";
import { HTTPS_HINT } from "./https-hint.js";

// Otherwise any user of this page could read the server's files and webcams.
const LOCAL_SOURCES_HINT = "Adding file:// and device:// on this page requires FACESTREAM_CAPTURE_ALLOW_LOCAL_SOURCES=true.";

const IS_HTTPS = location.protocol === "https:";

const SOURCES = [
  { title: "Phone browser (no app)", name: "phone", isPhoneLink: true,
    steps: [IS_HTTPS ? "Add it, then scan the QR code with the phone." : HTTPS_HINT] },
  { title: "Phone: IP Webcam (Android)", url: "http://192.168.1.20:8080/video", name: "phone",
    steps: ["Open IP Webcam and tap “Start server”.", "Enter the address at the bottom of its screen, followed by /video."] },
  { title: "Phone: DroidCam (Android, iPhone)", url: "http://192.168.1.20:4747/video", name: "phone",
    steps: ["Open DroidCam; it shows “WiFi IP” and a port.", "Enter them as http://IP:PORT/video."] },
  { title: "Phone: IP Camera Lite (iPhone)", url: "rtsp://admin:admin@192.168.1.20:8554/live", name: "phone",
    steps: ["Turn on “IP Camera Server”.", "Enter the RTSP address it shows, including user and password."] },
  { title: "Phone: another app (RTSP)", url: "rtsp://192.168.1.20:8554/live", name: "phone",
    steps: ["Start the app’s RTSP server and paste its address.", "Phone and computer must be on the same Wi-Fi."] },
  { title: "IP camera or recorder (RTSP)", url: "rtsp://user:password@192.168.1.64:554/stream1", name: "camera",
    steps: ["Find the address in the camera’s manual, under “RTSP” or “ONVIF”.", "A smaller second stream is enough: faces need 45 pixels."] },
  { title: "Webcam of this computer", url: "device:///dev/video0", name: "webcam", prefill: true,
    steps: ["Requires facestream on Linux with the camera attached.",
      "Add it at start-up: facestream up --camera webcam=device:///dev/video0.", LOCAL_SOURCES_HINT] },
  { title: "Other URL", url: "rtsp://…", name: "camera",
    steps: ["Supported: rtsp://, rtsps://, http:// or https:// (MJPEG), file:///path, device:///dev/video0.", LOCAL_SOURCES_HINT] },
];
const TEST_TIMEOUT_S = 20;
const TEST_POLL_MS = 200;

const $ = (id) => document.getElementById(id);

for (const dialog of document.querySelectorAll("dialog")) {
  for (const button of dialog.querySelectorAll("[data-close]")) {
    button.addEventListener("click", () => dialog.close());
  }
}

function setResult(node, level, text) {
  node.dataset.level = level;
  node.textContent = text;
}

export class AddDialog {
  // `statusOf(name)` returns the latest known status of a camera; `onPhoneLink(link)` shows a phone's link.
  constructor(statusOf, onLive, onPhoneLink) {
    this.statusOf = statusOf;
    this.onLive = onLive;
    this.onPhoneLink = onPhoneLink;
    this.added = null; // the camera under test
    $("add-source").append(...SOURCES.map((source, i) => new Option(source.title, i)));
    $("add-source").value = SOURCES.findIndex((source) => IS_HTTPS || !source.isPhoneLink);
    $("add-source").addEventListener("change", () => this.showSource());
    $("add-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    $("add-keep").addEventListener("click", () => $("add-dialog").close("keep"));
    $("add-dialog").addEventListener("close", () => this.onClose());
  }

  get source() {
    return SOURCES[$("add-source").value];
  }

  open(usedNames) {
    this.usedNames = usedNames;
    this.added = null;
    $("add-url").value = "";
    $("add-rotate").value = "0";
    $("add-name").value = "";
    setResult($("add-result"), "", "");
    $("add-submit").disabled = false;
    $("add-keep").hidden = true;
    this.showSource();
    $("add-dialog").returnValue = "";
    $("add-dialog").showModal();
    $("add-source").focus();
  }

  showSource() {
    const source = this.source;
    $("add-steps").replaceChildren(...source.steps.map((step) => {
      const item = document.createElement("li");
      item.textContent = step;
      return item;
    }));
    const isPhoneLink = Boolean(source.isPhoneLink);
    $("add-address").hidden = isPhoneLink;
    $("add-url").required = !isPhoneLink;
    $("add-url").placeholder = source.url ?? "";
    $("add-submit").textContent = isPhoneLink ? "Add" : "Add and test";
    if (source.prefill) $("add-url").value = source.url;
    let name = source.name;
    for (let i = 2; this.usedNames.includes(name); i++) name = `${source.name}-${i}`;
    $("add-name").value = name;
  }

  // Canceling the dialog removes the camera under test.
  onClose() {
    if ($("add-dialog").returnValue === "keep") this.added = null;
    this.removeAdded();
  }

  async submit() {
    if (this.source.isPhoneLink) return this.submitPhone();
    const camera = { name: $("add-name").value, url: $("add-url").value.trim(), rotate: Number($("add-rotate").value) };
    $("add-submit").disabled = true;
    $("add-keep").hidden = true;
    setResult($("add-result"), "pending", "Adding…");
    try {
      // The status of the previous attempt may still arrive during this one; ignore it by its `since`.
      this.previousSince = this.added ? this.statusOf(this.added)?.since : undefined;
      await this.removeAdded();
      await callApi("POST", "/api/cameras", camera);
      this.added = camera.name;
      if ($("add-dialog").open) await this.testConnection(camera.name);
      else this.onClose();
    } catch (error) {
      setResult($("add-result"), "error", error.message);
    }
    $("add-submit").disabled = false;
  }

  async removeAdded() {
    const name = this.added;
    this.added = null;
    if (name) await callApi("DELETE", cameraPath(name)).catch(() => {});
  }

  async submitPhone() {
    $("add-submit").disabled = true;
    $("add-keep").hidden = true;
    try {
      await this.removeAdded(); // from a previous attempt, under this name or another
      const link = await callApi("POST", "/api/phones", { name: $("add-name").value, rotate: Number($("add-rotate").value) });
      $("add-dialog").close("keep");
      this.onPhoneLink(link);
    } catch (error) {
      setResult($("add-result"), "error", error.message);
    }
    $("add-submit").disabled = false;
  }

  async testConnection(name) {
    let end = performance.now() + TEST_TIMEOUT_S * 1000;
    while (performance.now() < end && $("add-dialog").open) {
      // A hidden page receives no events; restart the timeout when the user returns, perhaps from a phone app.
      if (document.hidden) end = performance.now() + TEST_TIMEOUT_S * 1000;
      const status = this.statusOf(name);
      if (status?.state === "live") {
        setResult($("add-result"), "ok", `Live: ${status.width} × ${status.height}.`);
        this.onLive(name);
        $("add-dialog").returnValue = "keep";
        setTimeout(() => $("add-dialog").close("keep"), 900);
        return;
      }
      if (status?.state === "failed" && status.reason && status.since !== this.previousSince) {
        this.onTestFailed(`No video: ${status.reason}`);
        return;
      }
      setResult($("add-result"), "pending", status?.reason ? `Connecting… ${status.reason}` : "Connecting…");
      await new Promise((resolve) => setTimeout(resolve, TEST_POLL_MS));
    }
    if ($("add-dialog").open) this.onTestFailed("No video yet. Is the app running, and on the same network?");
  }

  onTestFailed(reason) {
    const end = /[.?]$/.test(reason) ? "" : ".";
    setResult($("add-result"), "error", `${reason}${end} Fix the address and try again, or keep the camera: facestream keeps retrying.`);
    $("add-submit").textContent = "Try again";
    $("add-keep").hidden = false;
  }
}

// Open a dialog with one text field or none. `onSubmit(value)` may throw to keep the dialog open with its message.
export function openPrompt({ title, text, button, value, onSubmit }) {
  $("prompt-title").textContent = title;
  $("prompt-text").textContent = text ?? "";
  $("prompt-label").hidden = value === undefined;
  $("prompt-input").required = value !== undefined;
  $("prompt-input").value = value ?? "";
  $("prompt-submit").textContent = button;
  $("prompt-submit").disabled = false;
  setResult($("prompt-result"), "", "");
  $("prompt-form").onsubmit = async (event) => {
    event.preventDefault();
    $("prompt-submit").disabled = true; // a second Enter must not submit again
    try {
      await onSubmit($("prompt-input").value);
      $("prompt-dialog").close();
    } catch (error) {
      setResult($("prompt-result"), "error", error.message);
    }
    $("prompt-submit").disabled = false;
  };
  $("prompt-dialog").showModal();
  if (value !== undefined) $("prompt-input").select();
}
