// Dark or light theme on every page: the user's choice in this browser, else the system's.

const STORAGE_KEY = "facestream-theme";
const root = document.documentElement;
if (localStorage.getItem(STORAGE_KEY)) root.dataset.theme = localStorage.getItem(STORAGE_KEY);

export function toggleTheme() {
  const isDark = getComputedStyle(root).colorScheme.includes("dark");
  root.dataset.theme = isDark ? "light" : "dark";
  localStorage.setItem(STORAGE_KEY, root.dataset.theme);
}
