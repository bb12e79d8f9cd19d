/* Focus follows what changed: the first field in error, else the part of a swap that asks for it (data-swap-focus). */
(() => {
  const INVALID = '[aria-invalid="true"]';
  const WANTED = "[data-swap-focus]";

  document.addEventListener("htmx:afterSettle", (event) => {
    const root = event.target;
    const goal = root.querySelector(INVALID) ?? (root.matches(WANTED) ? root : root.querySelector(WANTED));
    goal?.focus();
  });
  document.addEventListener("DOMContentLoaded", () => document.querySelector(INVALID)?.focus());
})();
