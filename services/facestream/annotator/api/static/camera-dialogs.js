// Adding a camera (with the phone apps people use, and a test of the connection), and the two
// questions: a new name, and whether to remove.

import { call, cameraPath } from "./api-client.js";
import { NEEDS_HTTPS } from "./https-hint.js";

// Whoever reaches this page could otherwise look at that computer's files and out of its webcam.
const LOCAL = "On this page file:// and device:// work only if facestream runs with FACESTREAM_CAPTURE_ALLOW_LOCAL_SOURCES=true.";

const BY_HTTPS = location.protocol === "https:";

const APPS = [
  { title: "Phone: no app, by a link", name: "phone", by: "link",
    steps: [BY_HTTPS ? "Add it, then scan the code that appears: the phone’s browser becomes the camera." : NEEDS_HTTPS] },
  { title: "Phone: IP Webcam (Android)", url: "http://192.168.1.20:8080/video", name: "phone",
    steps: ["Open IP Webcam and tap “Start server”.", "Type the address at the bottom of its picture, with /video at the end."] },
  { title: "Phone: DroidCam (Android, iPhone)", url: "http://192.168.1.20:4747/video", name: "phone",
    steps: ["Open DroidCam; it shows “WiFi IP” and a port.", "Type them as http://IP:PORT/video."] },
  { title: "Phone: IP Camera Lite (iPhone)", url: "rtsp://admin:admin@192.168.1.20:8554/live", name: "phone",
    steps: ["Turn on “IP Camera Server”.", "Type the RTSP address it shows, with its user and password in it."] },
  { title: "Phone: another app (RTSP)", url: "rtsp://192.168.1.20:8554/live", name: "phone",
    steps: ["Start the app’s RTSP server and paste the address it shows.", "Phone and this computer must be in the same Wi-Fi."] },
  { title: "IP camera or recorder (RTSP)", url: "rtsp://user:password@192.168.1.64:554/stream1", name: "camera",
    steps: ["The address is in the camera’s manual, often under “RTSP” or “ONVIF”.", "A second, smaller stream is enough: faces of 45 pixels are found."] },
  { title: "Webcam of this computer", url: "device:///dev/video0", name: "webcam", fill: true,
    steps: ["Works where facestream runs on Linux with the camera plugged in.",
      "Give it when starting: facestream up --camera webcam=device:///dev/video0.", LOCAL] },
  { title: "Something else", url: "rtsp://…", name: "camera",
    steps: ["rtsp://, rtsps://, http:// or https:// (MJPEG), file:///path or device:///dev/video0.", LOCAL] },
];
const TEST_S = 20;

const $ = (id) => document.getElementById(id);

for (const dialog of document.querySelectorAll("dialog")) {
  for (const button of dialog.querySelectorAll("[data-close]")) {
    button.addEventListener("click", () => dialog.close());
  }
}

function tell(place, level, text) {
  place.dataset.level = level;
  place.textContent = text;
}

export class AddDialog {
  // `statusOf(name)` gives what the events last said of a camera; `onLink(link)` gets a phone's.
  constructor(statusOf, onAdded, onLink) {
    this.statusOf = statusOf;
    this.onAdded = onAdded;
    this.onLink = onLink;
    this.added = null;
    $("add-app").append(...APPS.map((app, i) => new Option(app.title, i)));
    $("add-app").value = APPS.findIndex((app) => BY_HTTPS || app.by !== "link");
    $("add-app").addEventListener("change", () => this.choose());
    $("add-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    $("add-keep").addEventListener("click", () => $("add-dialog").close("keep"));
    $("add-dialog").addEventListener("close", () => this.closed());
  }

  open(taken) {
    this.taken = taken;
    this.added = null;
    $("add-url").value = "";
    $("add-rotate").value = "0";
    $("add-name").value = "";
    tell($("add-result"), "", "");
    $("add-submit").disabled = false;
    $("add-keep").hidden = true;
    this.choose();
    $("add-dialog").returnValue = "";
    $("add-dialog").showModal();
    $("add-app").focus();
  }

  choose() {
    const app = APPS[$("add-app").value];
    $("add-steps").replaceChildren(...app.steps.map((step) => {
      const item = document.createElement("li");
      item.textContent = step;
      return item;
    }));
    const byLink = app.by === "link";
    $("add-address").hidden = byLink;
    $("add-url").required = !byLink;
    $("add-url").placeholder = app.url ?? "";
    $("add-submit").textContent = byLink ? "Add" : "Add and test";
    if (app.fill) $("add-url").value = app.url;
    let name = app.name;
    for (let i = 2; this.taken.includes(name); i++) name = `${app.name}-${i}`;
    $("add-name").value = name;
  }

  // Whoever cancels wants no camera left of it.
  closed() {
    if ($("add-dialog").returnValue === "keep") this.added = null;
    this.takeBack();
  }

  async submit() {
    if (APPS[$("add-app").value].by === "link") return this.submitPhone();
    const camera = { name: $("add-name").value, url: $("add-url").value.trim(), rotate: Number($("add-rotate").value) };
    $("add-submit").disabled = true;
    $("add-keep").hidden = true;
    tell($("add-result"), "busy", "Adding…");
    try {
      // What capture said of the last try may still arrive while the next one has begun.
      this.said = this.added ? this.statusOf(this.added)?.since : undefined;
      await this.takeBack();
      await call("POST", "/api/cameras", camera);
      this.added = camera.name;
      if ($("add-dialog").open) await this.test(camera.name);
      else this.closed();
    } catch (error) {
      tell($("add-result"), "bad", error.message);
    }
    $("add-submit").disabled = false;
  }

  async takeBack() {
    const name = this.added;
    this.added = null;
    if (name) await call("DELETE", cameraPath(name)).catch(() => {});
  }

  async submitPhone() {
    $("add-submit").disabled = true;
    $("add-keep").hidden = true;
    try {
      await this.takeBack(); // a camera that was tried before under this name, or another
      const link = await call("POST", "/api/phones", { name: $("add-name").value, rotate: Number($("add-rotate").value) });
      $("add-dialog").close("keep");
      this.onLink(link);
    } catch (error) {
      tell($("add-result"), "bad", error.message);
    }
    $("add-submit").disabled = false;
  }

  async test(name) {
    let end = performance.now() + TEST_S * 1000;
    while (performance.now() < end && $("add-dialog").open) {
      // A hidden page hears nothing: who starts the phone's app meanwhile has the whole time after it.
      if (document.hidden) end = performance.now() + TEST_S * 1000;
      const status = this.statusOf(name);
      if (status?.state === "live") {
        tell($("add-result"), "good", `Live: ${status.width} × ${status.height}.`);
        this.onAdded(name);
        $("add-dialog").returnValue = "keep";
        setTimeout(() => $("add-dialog").close("keep"), 900);
        return;
      }
      if (status?.state === "failed" && status.reason && status.since !== this.said) {
        this.failed(`No picture: ${status.reason}`);
        return;
      }
      tell($("add-result"), "busy", status?.reason ? `Connecting… ${status.reason}` : "Connecting…");
      await new Promise((done) => setTimeout(done, 200));
    }
    if ($("add-dialog").open) this.failed("No picture yet. Is the app running, and in the same network?");
  }

  failed(why) {
    const end = /[.?]$/.test(why) ? "" : ".";
    tell($("add-result"), "bad", `${why}${end} Correct it and try again, or keep it: it is tried until it works.`);
    $("add-submit").textContent = "Try again";
    $("add-keep").hidden = false;
  }
}

// One question with a button; `work(input)` throws to keep the dialog open with its message.
export function ask({ title, text, button, input, work }) {
  $("ask-title").textContent = title;
  $("ask-text").textContent = text ?? "";
  $("ask-label").hidden = input === undefined;
  $("ask-input").required = input !== undefined;
  $("ask-input").value = input ?? "";
  $("ask-submit").textContent = button;
  $("ask-submit").disabled = false;
  tell($("ask-result"), "", "");
  $("ask-form").onsubmit = async (event) => {
    event.preventDefault();
    $("ask-submit").disabled = true; // once: a second Enter would rename what is renamed already
    try {
      await work($("ask-input").value);
      $("ask-dialog").close();
    } catch (error) {
      tell($("ask-result"), "bad", error.message);
    }
    $("ask-submit").disabled = false;
  };
  $("ask-dialog").showModal();
  if (input !== undefined) $("ask-input").select();
}
