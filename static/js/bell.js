/* The count of the inbox is looked up again while somebody looks at the page: every few minutes, and when they come back to
   the tab. A hidden tab asks for nothing. */
(() => {
  const EVERY_MS = 180000;
  let looked = Date.now();

  const look = () => {
    if (document.hidden || Date.now() - looked < EVERY_MS) return;
    looked = Date.now();
    document.querySelectorAll("[data-bell]").forEach((bell) => htmx.trigger(bell, "look"));
  };

  document.addEventListener("visibilitychange", look);
  setInterval(look, EVERY_MS / 3);
})();
