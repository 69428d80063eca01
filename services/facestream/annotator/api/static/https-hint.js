// What camera-dialogs.js and phone-camera.js say where a phone would not give its camera; phone/link.py says the same.
export const NEEDS_HTTPS = "A phone only gives its camera to an https page. Stop facestream (Ctrl-C), start it with “make demo PHONE=1” (or “facestream up --host 0.0.0.0 --https”) and open the link it prints.";
