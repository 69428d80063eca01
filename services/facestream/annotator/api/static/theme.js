// Dark or light, as this browser's user has chosen; else as the system has it. On every page.

const THEME = "facestream-theme";
const root = document.documentElement;
if (localStorage.getItem(THEME)) root.dataset.theme = localStorage.getItem(THEME);

export function switchTheme() {
  const dark = getComputedStyle(root).colorScheme.includes("dark");
  root.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem(THEME, root.dataset.theme);
}
