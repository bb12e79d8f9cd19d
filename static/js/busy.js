/* A button that waits says what it waits for (data-busy-text), keeps its width and cannot be pressed twice.
   It is disabled after the browser has read the form, so that its own name and value are still sent. */
(() => {
  const idle = new Map();

  const start = (button) => {
    if (!button || idle.has(button)) return;
    idle.set(button, [...button.childNodes]);
    button.style.minWidth = `${button.offsetWidth}px`;
    button.setAttribute("aria-busy", "true");
    if (button.dataset.busyText) button.replaceChildren(button.dataset.busyText);
    setTimeout(() => { if (idle.has(button)) button.disabled = true; });
  };

  const stop = (button) => {
    if (!idle.has(button)) return;
    button.disabled = false;
    button.removeAttribute("aria-busy");
    button.style.minWidth = "";
    button.replaceChildren(...idle.get(button));
    idle.delete(button);
  };

  const submitter = (event) => event.submitter ?? event.target.querySelector('button:not([type="button"])');

  document.addEventListener("submit", (event) => { if (!event.defaultPrevented) start(submitter(event)); });
  document.addEventListener("htmx:beforeRequest", (event) => {
    const cause = event.detail.requestConfig.triggeringEvent;
    if (cause?.type === "submit") start(submitter(cause));
  });
  document.addEventListener("htmx:afterRequest", () => [...idle.keys()].forEach(stop));
  window.addEventListener("pageshow", () => [...idle.keys()].forEach(stop));
})();
