// Applies the chosen theme before the page is drawn, and lets the button change it.
// A classic script in the head: a module would run after the first paint and flash.
(function () {
  "use strict";
  const root = document.documentElement;
  const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");

  function stored() {
    try {
      return localStorage.getItem("theme");
    } catch {
      return null; // storage is off: the theme lasts for this page
    }
  }

  function store(theme) {
    try {
      localStorage.setItem("theme", theme);
    } catch {
      // as above
    }
  }

  function isDark() {
    return (root.dataset.theme || (prefersDark.matches ? "dark" : "light")) === "dark";
  }

  function label(button) {
    button.title = isDark() ? "Use the light theme" : "Use the dark theme";
    button.setAttribute("aria-label", button.title);
  }

  const theme = stored();
  if (theme === "dark" || theme === "light") root.dataset.theme = theme;

  document.addEventListener("DOMContentLoaded", function () {
    const button = document.getElementById("theme");
    if (!button) return;
    button.hidden = false;
    label(button);
    button.addEventListener("click", function () {
      root.dataset.theme = isDark() ? "light" : "dark";
      store(root.dataset.theme);
      label(button);
    });
  });
})();
