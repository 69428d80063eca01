// Hint shown where a phone browser would refuse camera access; phone/pairing_link.py has the same text.
export const HTTPS_HINT = "Phone cameras need HTTPS. Stop facestream (Ctrl-C), start it with “make demo PHONE=1” (or “facestream up --host 0.0.0.0 --https”) and open the link it prints.";
